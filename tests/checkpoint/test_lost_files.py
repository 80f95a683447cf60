"""The command line and the files around it: whatever they are, nothing is lost."""

import os
import pickle
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.checkpoint.test_command_line import STATE, run, source

__all__ = ["source"]

OPTIONS = ("--family", "rosinality-stylegan2", "--entry", "g_ema")


def same(path):
    return path


def other_spelling(path):
    return path.parent / "." / ".." / path.parent.name / path.name


def symbolic_link(path):
    (path.parent / "link.pt").symlink_to(path)
    return path.parent / "link.pt"


def hard_link(path):
    (path.parent / "twin.pt").hardlink_to(path)
    return path.parent / "twin.pt"


def through_a_linked_directory(path):
    (path.parent / "directory").symlink_to(path.parent, target_is_directory=True)
    return path.parent / "directory" / path.name


@pytest.mark.parametrize("force", [(), ("--force",)])
@pytest.mark.parametrize(
    "name", [same, other_spelling, symbolic_link, hard_link, through_a_linked_directory]
)
def test_in_is_never_overwritten(source, capsys, name, force):
    """IN and OUT being one file, by whatever path, is refused, and every entry is still there."""
    before, target = source.read_bytes(), name(source)
    assert run("convert", source, target, *OPTIONS, *force) == 1
    assert "is the same file as" in capsys.readouterr().err
    assert run("convert", target, source, *OPTIONS, *force) == 1
    assert source.read_bytes() == target.read_bytes() == before


def test_an_existing_out_needs_force(source, capsys):
    """What is there is kept, be it no checkpoint or a broken link, until --force is given."""
    target = source.with_name("out.pt")
    for make in (lambda: target.write_text("precious"), lambda: target.symlink_to("nowhere")):
        make()
        assert run("convert", source, target, *OPTIONS) == 1
        assert "--force would replace" in capsys.readouterr().err
        assert target.is_symlink() or target.read_text() == "precious"
        assert run("convert", source, target, *OPTIONS, "--force") == 0
        assert target.is_file()
        target.unlink()


def test_what_is_no_file_is_not_replaced(source, tmp_path, capsys):
    """A directory or a pipe of OUT's name stays one, even with --force."""
    directory, pipe = tmp_path / "directory.pt", tmp_path / "pipe.pt"
    directory.mkdir()
    os.mkfifo(pipe)
    for target, kind in ((directory, "it is a directory"), (pipe, "it is no ordinary file")):
        for arguments in ((source, target), (target, source.with_name("out.pt"))):
            assert run("convert", *arguments, *OPTIONS, "--force") == 1
            assert kind in capsys.readouterr().err
    assert directory.is_dir()
    assert pipe.is_fifo()


CONTENTS = {
    "empty.pt": lambda path: path.touch(),
    "empty.npz": lambda path: path.touch(),
    "empty.safetensors": lambda path: path.touch(),
    "text.pt": lambda path: path.write_text("hello, this is text"),
    "json.pt": lambda path: path.write_text('{"a": 1}'),
    "picture.pt": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100)),
    "pickle.pt": lambda path: path.write_bytes(pickle.dumps({"a": 1})),
    "tensor.pt": lambda path: torch.save(torch.ones(2), path),
    "list.pt": lambda path: torch.save([torch.ones(2)], path),
    "number.pt": lambda path: torch.save({"step": 3}, path),
    "model.pt": lambda path: torch.save(torch.nn.Linear(2, 2), path),
    "missing.pt": lambda path: None,
    "directory.pt": lambda path: path.mkdir(),
    "new\nline\udcff.pt": lambda path: path.touch(),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_files_that_are_no_state_dict(tmp_path, name, capsys):
    """One line that names the file, exit code 1, nothing written, no warning."""
    CONTENTS[name](tmp_path / name)
    before = set(tmp_path.iterdir())
    for command in (["describe"], ["convert", tmp_path / "out.pt", "--family", "alae"]):
        assert run(command[0], tmp_path / name, *command[1:]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1
        assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("suffix", [".pt", ".npz"])
def test_a_full_disk(tmp_path, suffix):
    """In a process that may write no more than 64 KiB: the reason, and nothing half-written."""
    state = {"style.1.weight": torch.ones(200, 200)}
    torch.save(state, tmp_path / "in.pt")
    command = f"ulimit -f 64; exec {sys.executable} -m equalized_lr convert in.pt out{suffix} "
    done = subprocess.run(
        ["bash", "-c", command + "--family rosinality-stylegan2"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        f"error: out{suffix} cannot be written, and nothing was: File too large. "
        "Give another name, or another format.\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["in.pt"]


names = st.sampled_from(["in.pt", "new.pt", "old.pt", "link.pt", "twin.pt", "text.pt", "a.txt",
    "directory.pt", "no/where.pt", "new.npz", "new.safetensors", "empty.npz", "", ".", "x" * 300,
    "module.pt", "\0.pt", "in.pt/", "../files/in.pt"])  # fmt: skip
options = st.lists(
    st.sampled_from([("--force",), ("--entry", "g_ema"), ("--entry", "a..b"), ("--rest", "keep"),
        ("--prefix", "style"), ("--prefix", "."), ("--fact", "lr_mul=nan"),
        ("--to", "alae"), ("--family", "equalized-lr"), ("--to", "equalized-lr")]),
    max_size=3,
).map(lambda chosen: sum(chosen, ()))  # fmt: skip


@given(names, names, options)
def test_any_files(tmp_path_factory, source, target, chosen):
    """Whatever IN and OUT are: IN stays as it was, and what was there stays without --force."""
    root = tmp_path_factory.mktemp("any") / "files"
    root.mkdir()
    torch.save({"g_ema": STATE, "other": {"a": torch.ones(2)}}, root / "in.pt")
    for name, make in CONTENTS.items():
        if name in ("text.pt", "empty.npz", "directory.pt"):
            make(root / name)
    torch.save(torch.nn.Linear(2, 2), root / "module.pt")
    (root / "old.pt").write_bytes(b"precious")
    (root / "link.pt").symlink_to(root / "in.pt")
    (root / "twin.pt").hardlink_to(root / "in.pt")
    before = contents(root)
    arguments = (f"{root}/{source}", f"{root}/{target}", "--family", "rosinality-stylegan2")
    with suppress(SystemExit):
        code = run("convert", *arguments, *chosen)
        after = contents(root)
        kept = {name for name in before if "--force" not in chosen or name in ("in.pt", source)}
        assert {name: after.get(name) for name in kept} == {name: before[name] for name in kept}
        assert set(after) - set(before) <= ({Path(target).name} if code == 0 else set())


def contents(root):
    return {
        path.name: path.read_bytes() if path.is_file() else b"" for path in sorted(root.iterdir())
    }
