"""`plain_state_dict` is what removal would leave, and touches nothing."""

import copy

import pytest
import torch
from hypothesis import given
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.parametrize import register_parametrization

from equalized_lr import equalize_lr, errors, plain_state_dict, remove_equalized_lr
from tests.support.assertions import Snapshot, assert_equal
from tests.support.strategies import gains, lr_muls, samples


@given(samples(), gains, lr_muls)
def test_it_is_the_state_dict_after_removal(sample, gain, lr_mul):
    """The same keys in the same order, the same bits, the same metadata; the layer stays."""
    layer = equalize_lr(sample.layer, gain=gain, lr_mul=lr_mul)
    before = Snapshot(layer)
    state = plain_state_dict(layer)
    before.assert_unchanged()
    expected = remove_equalized_lr(copy.deepcopy(layer)).state_dict()
    assert list(state) == list(expected)
    assert state._metadata == expected._metadata
    for key, value in state.items():
        assert_equal(value, expected[key])
        assert not value.requires_grad


def test_ties_are_one_tensor():
    """Tied weights share memory as in a plain model, and nothing shares it with the module."""
    embed, head = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
    head.weight = embed.weight
    model = equalize_lr(nn.ModuleDict({"embed": embed, "head": head, "again": head}))
    state = plain_state_dict(model)
    assert list(state) == ["embed.weight", "head.weight", "again.weight"]
    assert len({value.data_ptr() for value in state.values()}) == 1
    assert state["head.weight"].data_ptr() != head.weight_orig.data_ptr()
    assert_equal(state["embed.weight"], embed.weight)


def test_wrappers_that_rename_keys():
    """The values are effective under whatever name a wrapper's hook gives them."""
    layer = equalize_lr(nn.Linear(3, 3))
    model = nn.Sequential(checkpoint_wrapper(layer))
    assert list(model.state_dict()) == ["0.weight_orig", "0.bias"]
    state = plain_state_dict(model)
    assert list(state) == ["0.weight", "0.bias"]
    assert_equal(state["0.weight"], layer.weight)


def test_one_parameter_under_two_constants():
    """Two layers that share a stored weight by hand keep their own effective ones."""
    model = nn.ModuleList(equalize_lr(nn.Linear(3, 3), gain=gain) for gain in (1.0, 2.0))
    model[1].weight_orig = model[0].weight_orig
    state = plain_state_dict(model)
    assert_equal(state["0.weight"], model[0].weight)
    assert_equal(state["1.weight"], model[1].weight)


def test_below_another_reparametrization_it_is_refused():
    """The stored weight is then computed, and the keys are another's."""
    model = nn.Sequential(equalize_lr(nn.Linear(3, 3)))
    register_parametrization(model[0], "weight_orig", nn.Identity())
    with pytest.raises(errors.WrappedOnTop, match="saved"):
        plain_state_dict(model)
    assert "0.parametrizations.weight_orig.original" in model.state_dict()


def test_plain_and_mixed_models():
    """Plain layers and buffers are as state_dict() has them."""
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
    expected = {key: value.clone() for key, value in model.state_dict().items()}
    equalize_lr(model[2], init="keep", gain=3**0.5)
    state = plain_state_dict(model)
    assert list(state) == list(expected)
    for key, value in state.items():
        torch.testing.assert_close(value, expected[key])


def test_a_module_that_hides_in_the_keys():
    """Where a wrapper leaves itself out of the keys, effective weights still go by plain names."""
    plain = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model = equalize_lr(copy.deepcopy(plain), init="keep", gain=3**0.5)
    model[0] = checkpoint_wrapper(model[0])
    state = plain_state_dict(model)
    assert list(state) == list(plain.state_dict())
    for key, value in state.items():
        assert_equal(value, plain.state_dict()[key])


def test_a_model_with_a_state_dict_of_its_own():
    """What a model does with its state_dict is done to the effective weights."""

    class Renamed(nn.Linear):
        def state_dict(self, *args, **more):
            return {f"my.{key}": value * 2 for key, value in super().state_dict().items()}

    layer = equalize_lr(Renamed(3, 3))
    assert_equal(plain_state_dict(layer)["my.weight"], layer.weight * 2)


@pytest.mark.parametrize(
    "put",
    [parametrizations.orthogonal, lambda *of: prune.l1_unstructured(*of, amount=0.5)],
    ids=["parametrize", "prune"],
)
def test_a_reparametrization_on_top(put):
    """Stored weights that are saved in another form are refused, as by removal."""
    model = nn.Sequential(equalize_lr(nn.Linear(3, 3)))
    put(model[0], "weight_orig")
    keys = list(model.state_dict())
    with pytest.raises(errors.WrappedOnTop, match="another reparametrization of 'weight_orig'"):
        plain_state_dict(model)
    assert list(model.state_dict()) == keys


def test_other_things_than_modules():
    """A state_dict is no module."""
    with pytest.raises(errors.NotAModule):
        plain_state_dict({})
