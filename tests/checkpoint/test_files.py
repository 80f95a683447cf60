"""Files: read without running them, written whole or not at all."""

import argparse
import os
import pickle
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from equalized_lr import errors
from equalized_lr.checkpoint import files
from tests.support.assertions import assert_equal

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}
FORMATS = (".pt", ".pth", ".model", ".npz")


class Bomb:
    """A pickle that would create a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def written(directory, suffix=".pt", state=STATE):
    path = Path(directory) / f"file{suffix}"
    files.write(state, path)
    return path


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_is_written_is_read(tmp_path, suffix):
    """Each format gives back the same tensors, and no other file stays behind."""
    content = files.read(written(tmp_path, suffix))
    assert list(content) == list(STATE)
    for key, value in STATE.items():
        assert_equal(torch.as_tensor(content[key]), value)
    assert len(list(tmp_path.iterdir())) == 1


def test_rights_of_what_is_written(tmp_path):
    """The file has the rights of any new file, not those of a temporary one."""
    (tmp_path / "other").touch()
    assert written(tmp_path).stat().st_mode == (tmp_path / "other").stat().st_mode


def test_arrays_with_odd_names(tmp_path):
    """Names that are arguments of numpy's own function are names all the same."""
    state = {"file": torch.ones(2), "allow_pickle": torch.zeros(1), "4x4/Conv/bias": torch.ones(3)}
    assert list(files.read(written(tmp_path, ".npz", state))) == list(state)


@pytest.mark.parametrize("suffix", [".pt", ".npz", ".bin"])
def test_code_in_a_pickle_is_not_run(tmp_path, suffix):
    """A file with code in it is refused, whatever its name, and the code does not run."""
    path, trace = tmp_path / f"bad{suffix}", tmp_path / "executed"
    path.write_bytes(pickle.dumps({"a": Bomb(trace)}))
    with pytest.raises((errors.UnsafeFile, errors.UnreadableFile)):
        files.read(path)
    torch.save({"a": Bomb(trace)}, path)
    with pytest.raises((errors.UnsafeFile, errors.UnreadableFile)):
        files.read(path)
    np.savez(tmp_path / "bad.npz", a=np.array([Bomb(trace)], dtype=object))
    with pytest.raises(errors.UnreadableFile, match="pickle"):
        files.read(tmp_path / "bad.npz")
    assert not trace.exists()
    pickle.loads(pickle.dumps(Bomb(trace)))
    assert trace.exists()  # negative control: the code would have run


def test_the_refusal_of_code_says_what_to_do(tmp_path):
    """It names the code, and how to save tensors alone where the file comes from."""
    torch.save({"net": torch.nn.Linear(2, 2)}, tmp_path / "net.pt")
    with pytest.raises(
        errors.UnsafeFile,
        match=r"^/.*net\.pt is not read.*nn\.modules\.linear\.Linear.*state_dict\(\)",
    ):
        files.read(tmp_path / "net.pt")
    with pytest.raises(
        errors.UnsafeFile, match=r"^/.*\.pkl is not read.*whole networks, with their"
    ):
        files.read(tmp_path / "network-snapshot.pkl")


def test_namespaces_are_let_through(tmp_path):
    """rosinality's files hold the arguments of the training, which are no code."""
    torch.save({"g": STATE, "args": argparse.Namespace(size=256)}, tmp_path / "g.pt")
    assert list(files.entries(files.read(tmp_path / "g.pt"))) == ["g"]


def test_missing_and_mistaken_files(tmp_path):
    """A file that is not there, or not what its name says, is one clear error."""
    with pytest.raises(
        errors.UnreadableFile, match=r"^/.*nothing\.pt cannot.*: FileNotFoundError: .*No"
    ):
        files.read(tmp_path / "nothing.pt")
    for suffix in FORMATS:
        (tmp_path / f"text{suffix}").write_text("no checkpoint")
        with pytest.raises((errors.UnreadableFile, errors.UnsafeFile)):
            files.read(tmp_path / f"text{suffix}")
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(errors.EqualizedLRError):
        files.pick(files.read(tmp_path / "other.npz"), None)


def test_a_package_that_is_not_there(tmp_path, monkeypatch):
    """A format whose package is not installed says so, in both directions."""
    path = tmp_path / "some.safetensors"
    path.write_bytes(b"any")
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(errors.MissingPackage, match="pip install safetensors"):
        files.read(path)
    with pytest.raises(errors.MissingPackage):
        files.write(STATE, tmp_path / "other.safetensors")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "state", "match"),
    [
        ("file.txt", STATE, "ends in none of"),
        ("no/such/directory.pt", STATE, "No such file"),
        ("half.npz", {"a": torch.ones(2, dtype=torch.bfloat16)}, "BFloat16"),
    ],
)
def test_what_cannot_be_written(tmp_path, name, state, match):
    """A refusal leaves neither a file nor a part of one."""
    with pytest.raises(errors.UnwritableFile, match=match):
        files.write(state, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_half_way_keeps_the_old_file(tmp_path, monkeypatch, error):
    """If writing fails, by any exception, what was there before is there still."""
    path = written(tmp_path)
    before = path.read_bytes()

    def fail(*args):
        args[1].write(b"half")
        raise error

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises((errors.UnwritableFile, KeyboardInterrupt)):
        files.write({"a": torch.zeros(9)}, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_entries_of_nested_files():
    """Every mapping with tensors in it is an entry, named by the way to it."""
    content = {"models": {"g": STATE, "opt": {"lr": 1}}, "step": 3, "latent": torch.ones(2)}
    assert list(files.entries(content)) == ["", "models.g"]
    assert files.pick(content, "models.g") is STATE
    assert files.pick(STATE, None) is STATE
    for entry in (None, "models.d"):
        with pytest.raises(errors.NoSuchEntry, match=r"'models\.g' \(2 keys\)"):
            files.pick(content, entry)
    with pytest.raises(errors.NoSuchEntry, match="no tensors by name"):
        files.pick([1, 2], None)


damage = st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=8))


@given(st.sampled_from(FORMATS), st.lists(damage, max_size=4), st.floats(0, 1))
def test_damaged_files(tmp_path_factory, suffix, damages, kept):
    """Whatever bytes are overwritten or cut off: tensors, or an error of ours."""
    path = written(tmp_path_factory.mktemp("damaged"), suffix)
    data = bytearray(path.read_bytes())
    for position, junk in damages:
        start = position % len(data)
        data[start : start + len(junk)] = junk
    path.write_bytes(data[: int(len(data) * kept) + 1])
    try:
        states = files.entries(files.read(path))
    except errors.EqualizedLRError:
        return
    for state in states.values():
        assert set(state) is not None


def test_an_old_format_of_torch(tmp_path):
    """Files from before torch 1.6 are read as well."""
    torch.save(STATE, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for key, value in files.read(tmp_path / "old.pt").items():
        assert_equal(value, STATE[key])


def test_entries_in_circles_and_of_one_path(tmp_path):
    """A dict that holds itself ends, and of two entries of one path none is lost."""
    content = {"a.b": STATE, "a": {"b": {"c": torch.ones(1)}}}
    content["a"]["again"] = content
    torch.save(content, tmp_path / "circle.pt")
    states = files.entries(files.read(tmp_path / "circle.pt"))
    assert {name: list(state) for name, state in states.items()} == {
        "a.b": list(STATE),
        "a.b#2": ["c"],
    }


def test_marks_are_read_in_each_format(tmp_path):
    """What a state_dict says of its form is in the file; lost constants are refused."""
    state = OrderedDict(STATE)
    state._metadata = OrderedDict({"": {"equalized_lr_form": {"form": "plain", "family": "mat"}}})
    for suffix in FORMATS:
        content = files.read(written(tmp_path, suffix, state))
        assert content._metadata[""]["equalized_lr_form"]["family"] == "mat"
    state._metadata["a"] = {"equalized_lr": {"version": 1, "scales": {"weight": 0.5}}}
    assert files.read(written(tmp_path, ".ckpt", state))._metadata["a"] == state._metadata["a"]
    with pytest.raises(errors.UnwritableFile, match="no place for the constants"):
        files.write(state, tmp_path / "constants.npz")
