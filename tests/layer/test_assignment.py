"""What is assigned to an equalized weight."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.parametrize import register_parametrization

from equalized_lr import (
    cached,
    equalize_lr,
    errors,
    is_equalized,
    remove_equalized_lr,
)
from tests.support.assertions import Snapshot, assert_equal

C = 0.5  # of nn.Linear(8, n)


FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture
def layer():
    return equalize_lr(nn.Linear(8, 2))


def test_a_parameter_assigned_is_the_effective_weight(layer):
    """`layer.weight = Parameter(W)` stores W / c in the same stored Parameter."""
    raw, wanted = layer.weight_orig, torch.randn(2, 8)
    layer.weight = nn.Parameter(wanted)
    assert layer.weight_orig is raw
    assert_equal(layer.weight, wanted)
    assert_equal(layer.weight_orig, wanted / C)
    layer.register_parameter("weight", nn.Parameter(2 * wanted))
    assert_equal(layer.weight, 2 * wanted)


def test_assignment_takes_shape_dtype_and_requires_grad_along(layer):
    """A Parameter of another shape, dtype or requires_grad is taken as it is."""
    raw = layer.weight_orig
    layer.weight = nn.Parameter(torch.ones(3, 8, dtype=torch.float64), requires_grad=False)
    assert layer.weight_orig is raw
    assert_equal(layer.weight, torch.ones(3, 8, dtype=torch.float64))
    assert not layer.weight.requires_grad


@pytest.mark.parametrize("value", [torch.ones(2, 8), None, 3.0])
def test_anything_else_cannot_be_assigned(layer, value):
    """A plain tensor, None or a number for the weight is an error, and nothing changes."""
    snapshot = Snapshot(layer)
    with pytest.raises(errors.NotAssignable, match="c \\* weight_orig"):
        layer.weight = value
    snapshot.assert_unchanged()


def test_a_weight_cannot_be_deleted_or_unregistered(layer):
    """`del layer.weight` and register_parameter("weight", None) are errors as well."""
    with pytest.raises(errors.NotAssignable):
        del layer.weight
    with pytest.raises(errors.NotAssignable):
        layer.register_parameter("weight", None)
    assert is_equalized(layer, "weight")


def test_a_parameter_of_another_module_is_not_untied_silently(layer):
    """Assigning an embedding's weight would copy it, where a tie was meant: that is an error."""
    embedding = nn.Embedding(2, 8)
    with pytest.raises(
        errors.TiedElsewhere, match=r"^'weight' \(Linear\) .*shared with an? Embedding"
    ):
        layer.weight = embedding.weight
    other = equalize_lr(nn.Linear(8, 2))
    layer.weight_orig = other.weight_orig
    assert_equal(layer.weight, other.weight)


def test_the_weight_of_another_equalized_layer_is_a_tie(layer):
    """`a.weight = b.weight` ties the stored parameters where c is the same, or is refused."""
    other, third = equalize_lr(nn.Linear(8, 2)), equalize_lr(nn.Linear(8, 2), gain=1.0)
    layer.weight = other.weight
    assert layer.weight_orig is other.weight_orig
    layer.weight = other.weight  # again, as tie_weights() does
    assert layer.weight_orig is other.weight_orig
    with pytest.raises(errors.NotAssignable, match="a weight with c = 0.353553"):
        layer.weight = third.weight
    assert layer.weight_orig is other.weight_orig


def test_a_tie_inside_of_cached(layer):
    """A weight that is kept for many forwards is known as well."""
    other = equalize_lr(nn.Linear(8, 2))
    with cached():
        layer.weight = other.weight
        assert layer.weight is other.weight
    assert layer.weight_orig is other.weight_orig


def test_other_parameters_are_assigned_as_ever(layer):
    """The bias, new parameters and the stored weight itself are set as in any module."""
    layer.bias = nn.Parameter(torch.ones(2))
    layer.extra = nn.Parameter(torch.ones(1))
    layer.weight_orig = nn.Parameter(torch.ones(2, 8))
    assert list(dict(layer.named_parameters())) == ["weight_orig", "bias", "extra"]
    assert_equal(layer.weight, torch.full((2, 8), C))


def both(gain=None, **more):
    """A layer with its own constants, filled with normal values."""
    layer = equalize_lr(nn.Linear(8, 2), **({} if gain is None else {"gain": gain}), **more)
    nn.init.normal_(layer.weight_orig)
    return layer


def version_1(seed=0):
    """The model of tests/fixtures/version_1.pt, with other numbers and other constants."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 2), nn.LSTM(2, 2))
    equalize_lr(net[2], gain=1.0 + seed, lr_mul=0.5)
    return equalize_lr(net, mode="fan_in" if seed else "fan_out")


@pytest.mark.parametrize("put", ["parametrization", "mask"])
def test_assignment_below_another_reparametrization_is_refused(layer, put):
    """The stored values are then another's, and what is written into them would be lost."""
    if put == "mask":
        prune.l1_unstructured(layer, "weight_orig", 0.5)
    else:
        register_parametrization(layer, "weight_orig", nn.Identity())
    with pytest.raises(errors.WrappedOnTop, match="'weight_orig'"):
        layer.weight = nn.Parameter(torch.ones(2, 8))


def test_assigning_to_one_end_of_a_tie_is_refused():
    """torch would untie the two; writing through would change both without a word."""
    embed, head = nn.Embedding(5, 8), nn.Linear(8, 5, bias=False)
    head.weight = embed.weight
    net = equalize_lr(nn.ModuleList([embed, head]))
    before = Snapshot(net)
    with pytest.raises(
        errors.TiedAssignment, match=r"^'weight' \(Linear\).*tied to an Embedding.*weight_orig"
    ):
        head.weight = nn.Parameter(torch.ones(5, 8))
    before.assert_unchanged()
    head.weight_orig = nn.Parameter(torch.ones(5, 8) / C)  # the way out that the text names
    assert_equal(head.weight, torch.ones(5, 8))
    assert embed.weight_orig is not head.weight_orig


def test_assigned_values_that_do_not_fit(layer):
    """Values whose quotient is infinite in their dtype are refused; infinite ones are as given."""
    equalize_lr(remove_equalized_lr(layer), lr_mul=2.0**-10)
    before = Snapshot(layer)
    with pytest.raises(errors.Unscalable, match="float16"):
        layer.weight = nn.Parameter(torch.full((2, 8), 100.0).half())
    before.assert_unchanged()
    layer.weight = nn.Parameter(torch.full((2, 8), torch.inf).half())
    assert layer.weight.isinf().all()


def test_an_assigned_parameter_brings_its_gradient(layer):
    """The gradient of the values of before does not wait for the next step."""
    layer(torch.randn(1, 8)).sum().backward()
    layer.weight = nn.Parameter(torch.ones(2, 8))
    assert layer.weight_orig.grad is None
    given = nn.Parameter(torch.ones(2, 8))
    given.grad = torch.ones(2, 8)
    layer.weight = given
    assert_equal(layer.weight_orig.grad, C * torch.ones(2, 8))


@pytest.mark.parametrize(
    "put",
    [
        lambda weight: setattr(nn.Linear(4, 2), "weight", weight),
        lambda weight: setattr(nn.Module(), "own", weight),
        lambda weight: nn.ParameterList([weight]),
    ],
    ids=["plain layer", "new name", "list"],
)
def test_a_frozen_weight_does_not_become_a_parameter_of_another_module(layer, put):
    """It would be a copy, which silently goes out of date; the stored Parameter is a tie."""
    layer.requires_grad_(requires_grad=False)
    with pytest.raises(errors.NotAParameter, match="would not follow"):
        put(layer.weight)
    put(layer.weight_orig)


def test_pruning_a_frozen_weight_by_its_plain_name_changes_nothing(layer):
    """torch's prune registers what it reads as `weight_orig`, which would scale it twice."""
    layer.requires_grad_(requires_grad=False)
    before = layer.weight.clone()
    with pytest.raises(errors.NotAParameter):
        nn.utils.prune.l1_unstructured(layer, "weight", 2)
    assert_equal(layer.weight, before)
