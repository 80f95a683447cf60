"""Weights that accelerate keeps on the CPU or on disk, and brings for each forward."""

import pytest
import torch
from accelerate import (
    cpu_offload,
    disk_offload,
    init_empty_weights,
    load_checkpoint_and_dispatch,
)
from accelerate.hooks import remove_hook_from_submodules
from safetensors.torch import save_model
from torch import nn

from equalized_lr import equalize_lr, errors, remove_equalized_lr
from tests.support.assertions import Snapshot, assert_equal

X = torch.ones(2, 8)


def net():
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))


@pytest.mark.parametrize("offload", ["cpu", "disk"])
def test_offloading(offload, tmp_path):
    """Weights that come for each forward give the same output; renaming meanwhile is refused."""
    model = equalize_lr(net())
    expected = model(X)
    cpu_offload(model, "cpu") if offload == "cpu" else disk_offload(model, tmp_path, "cpu")
    assert model[0].weight.is_meta
    assert_equal(model(X), expected)
    before = Snapshot(model)
    with pytest.raises(errors.OffloadedWeight, match="remove_hook_from_submodules"):
        remove_equalized_lr(model)
    before.assert_unchanged()
    assert_equal(model(X), expected)
    remove_hook_from_submodules(model)
    torch.testing.assert_close(remove_equalized_lr(model)(X), expected)


def test_offloaded_before():
    """Equalizing weights that are elsewhere is refused, by name and in a model."""
    model = cpu_offload(net(), "cpu")
    expected = model(X)
    for call in (lambda: equalize_lr(model), lambda: equalize_lr(model[2], "weight")):
        with pytest.raises(errors.OffloadedWeight, match="before offloading"):
            call()
    assert_equal(model(X), expected)


def test_a_checkpoint_in_pieces(tmp_path):
    """An empty model is filled from a file, one layer in memory and one on disk."""
    model = equalize_lr(net())
    save_model(model, tmp_path / "stored.safetensors", {"format": "pt"})
    with init_empty_weights():
        empty = equalize_lr(net())
    loaded = load_checkpoint_and_dispatch(
        empty,
        str(tmp_path / "stored.safetensors"),
        device_map={"0": "cpu", "1": "cpu", "2": "disk"},
        offload_folder=tmp_path,
    )
    assert_equal(loaded(X), model(X))
