"""safetensors: our files of that format, and its own functions on our models and tensors."""

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from equalized_lr import equalize_lr, plain_state_dict
from equalized_lr.checkpoint import files
from equalized_lr.checkpoint.state import State
from tests.checkpoint import test_command_line, test_files, test_lost_files
from tests.checkpoint.test_command_line import run
from tests.layer.test_state_dict import both
from tests.support.assertions import assert_equal, assert_ulps
from tests.support.mechanisms import common_hook, net, x
from tests.support.samples import stored

STATE = test_files.STATE


def test_what_is_written_is_read(tmp_path):
    """The format gives back the same tensors, and no other file stays behind."""
    content = files.read(test_files.written(tmp_path, ".safetensors"))
    assert set(content) == set(STATE)
    for key, value in STATE.items():
        assert_equal(content[key], value)
    assert len(list(tmp_path.iterdir())) == 1


def test_ties_and_strides(tmp_path):
    """The format knows neither ties nor strides: each tensor is written by itself."""
    tied = {"a": STATE["a.weight"], "b": STATE["a.weight"], "c": STATE["a.weight"].T}
    content = files.read(test_files.written(tmp_path, ".safetensors", tied))
    for key, value in tied.items():
        assert_equal(content[key], value)


def test_code_in_a_pickle_is_not_run(tmp_path):
    """A pickle under this name is refused as under any other."""
    test_files.test_code_in_a_pickle_is_not_run(tmp_path, ".safetensors")


def test_mistaken_files(tmp_path, monkeypatch):
    """A file that is not what its name says is one clear error."""
    monkeypatch.setattr(test_files, "FORMATS", (".safetensors",))
    test_files.test_missing_and_mistaken_files(tmp_path)


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("position", [0, 1, 7, 8, 20, 90])
def test_damaged_files(tmp_path_factory, position, kept):
    """Whatever bytes are overwritten or cut off: tensors, or an error of ours."""
    for junk in (b"\x00", b"\xff" * 8, b"{}"):
        damaged = test_files.test_damaged_files.hypothesis.inner_test
        damaged(tmp_path_factory, ".safetensors", [(position, junk)], kept)


def test_files_written_by_others(tmp_path):
    """A file of safetensors' own."""
    safetensors.torch.save_file(STATE, tmp_path / "own.safetensors")
    assert set(files.read(tmp_path / "own.safetensors")) == set(STATE)


def test_convert_and_back(tmp_path):
    """The command line takes the format as a source and as a target."""
    family, facts, state = stored("ada")
    options = [f"{key}={value}" for key, value in facts.items()]
    source, plain = tmp_path / "in.npz", tmp_path / "plain.safetensors"
    again = tmp_path / "again.safetensors"
    np.savez(source, **{key: value.numpy() for key, value in state.items()})
    there, back = [["--fact", *options], ["--to-fact", *options]] if options else [[], []]
    assert run("convert", source, plain, "--family", family, *there) == 0
    assert run("convert", plain, again, "--family", "plain", "--to", family, *back) == 0
    content = safetensors.torch.load_file(again)
    assert set(content) == set(state)
    for key, value in state.items():
        assert_ulps(content[key], value, 2)


@common_hook("holds")
def test_its_own_model_functions(mechanism, tmp_path):
    """Stored weights through save_model and load_model."""
    model, plain = mechanism.twins(net())
    safetensors.torch.save_model(model, str(tmp_path / "model.safetensors"))
    fresh, _ = mechanism.twins(net())
    safetensors.torch.load_model(fresh, str(tmp_path / "model.safetensors"))
    mechanism.assert_alike(fresh, plain, x())


def test_stored_weights_without_any_metadata_are_our_own(tmp_path):
    """It gives a plain dict, whose numbers are in this layer's units."""
    layer, other = both(), both()
    safetensors.torch.save_file(other.state_dict(), tmp_path / "own.safetensors")
    layer.load_state_dict(safetensors.torch.load_file(tmp_path / "own.safetensors"))
    assert_equal(layer.weight_orig, other.weight_orig)


def test_a_tie_of_a_plain_state_dict(tmp_path):
    """One of two tied tensors can be saved: what `plain_state_dict` gives is whole."""
    embed, head = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
    head.weight = embed.weight
    state = plain_state_dict(equalize_lr(nn.ModuleDict({"embed": embed, "head": head})))
    safetensors.torch.save_file({"w": state["embed.weight"]}, tmp_path / "w.safetensors")
    assert torch.equal(safetensors.torch.load_file(tmp_path / "w.safetensors")["w"], embed.weight)


def test_nothing_is_converted_twice(tmp_path, capsys):
    """A result is marked in this format, too."""
    source = tmp_path / "in.pt"
    torch.save({"g_ema": test_command_line.STATE, "g_optim": {"state": {}}}, source)
    test_command_line.test_nothing_is_converted_twice(source, capsys, ".safetensors")


def test_own_files_without_their_constants(tmp_path, capsys):
    """A safetensors file has no place for the constants, so it is refused with what to do."""
    model = equalize_lr(torch.nn.Linear(6, 4))
    safetensors.torch.save_file(model.state_dict(), tmp_path / "eq.safetensors")
    assert run("describe", tmp_path / "eq.safetensors") == 0
    assert "like equalized-lr" in capsys.readouterr().out
    for family, cure in (
        ("equalized-lr", "scales=he_scales(model)"),
        ("plain", "--family equalized-lr"),
    ):
        command = ("convert", tmp_path / "eq.safetensors", tmp_path / "out.pt", "--family", family)
        assert run(*command) == 1
        assert cure in capsys.readouterr().err


def test_safetensors_written_by_others(tmp_path):
    """A file of safetensors' own."""
    safetensors.torch.save_file(STATE, tmp_path / "own.safetensors")
    assert set(files.read(tmp_path / "own.safetensors")) == set(STATE)


@pytest.mark.parametrize("text", ["", "no json", "[1]", '{"a": 3}', '{"": {"form": 3}}', "null"])
def test_metadata_of_others(tmp_path, text):
    """Whatever stands in the place of our mark: the tensors are read."""
    metadata = {"equalized_lr_form": text}
    safetensors.torch.save_file(STATE, tmp_path / "a.safetensors", metadata)
    state = files.read(tmp_path / "a.safetensors")
    assert not [form for form in State.of(state).forms() if form[1] in ("plain", "stored")]


def test_a_full_disk(tmp_path):
    """A file that cannot be written whole is not there at all."""
    test_lost_files.test_a_full_disk(tmp_path, ".safetensors")
