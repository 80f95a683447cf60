"""Facts about tensors."""

import pytest
import torch
from torch import nn

from equalized_lr import errors
from equalized_lr.tensors import (
    fingerprint,
    has_overflowed,
    largest,
    module_holding,
    other_holders,
    refuse_overflow,
    same_values,
    unscalable_kind,
)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.detach().zero_(),
        lambda p: setattr(p, "data", p.data.clone()),
        lambda p: setattr(p, "data", p.data.T),
        lambda p: setattr(p, "data", p.data[:1]),
        lambda p: setattr(p, "data", p.data.double()),
    ],
    ids=["in place", "other memory", "other strides", "a part", "other dtype"],
)
def test_a_fingerprint_shows_changes(change):
    """A write, exchanged memory, and other views of the same memory."""
    parameter = nn.Parameter(torch.randn(3, 3))
    before = fingerprint(parameter)
    assert fingerprint(parameter) == before
    change(parameter)
    assert fingerprint(parameter) != before


def test_who_holds_memory():
    """Views and `.data` count, and cease to count when they are gone; meta tensors cannot tell."""
    tensor = torch.randn(3)
    assert other_holders(tensor) == 0
    views = [tensor.data, tensor.detach(), tensor[1:]]
    assert other_holders(tensor) == 3
    views.clear()
    assert other_holders(tensor) == 0
    assert other_holders(torch.empty(3, device="meta")) is None


def test_the_same_values():
    """NaN is the same as NaN; another shape or dtype is not the same."""
    values = torch.tensor([1.0, torch.nan])
    assert same_values(values, values.clone())
    assert not same_values(values, torch.tensor([1.0, 2.0]))
    assert not same_values(values, values[:1])
    assert not same_values(values, values.double())


def test_overflow():
    """A finite number that became infinite has overflowed; one that was infinite has not."""
    before = torch.tensor([60000.0, torch.inf]).half()
    assert has_overflowed(before, before * 2)
    assert not has_overflowed(before, before / 2)


def test_the_largest_value():
    """Infinite and missing values do not count."""
    assert largest(torch.tensor([-3.0, 2.0, torch.nan, -torch.inf])) == 3.0
    assert largest(torch.empty(0)) == 0.0


def test_a_module_that_holds():
    """Another module that holds a Parameter is found, one that is known is not."""
    layer, other = nn.Linear(2, 2), nn.Embedding(2, 2)
    other.weight = layer.weight
    holder = module_holding({id(layer.weight)}, [layer])
    assert holder == (layer.weight, "Embedding")
    assert module_holding({id(layer.weight)}, [layer, other]) is None


@pytest.mark.parametrize(
    ("tensor", "kind"),
    [
        (torch.ones(2, dtype=torch.int32), "of torch.int32"),
        (torch.ones(2, 2).to_sparse(), "a Tensor (torch.sparse_coo)"),
        (torch.ones(2, dtype=torch.complex64), None),
        (torch.ones(2).half(), None),
    ],
)
def test_kinds_that_cannot_be_scaled(tensor, kind):
    """Floating-point and complex tensors can be multiplied by c."""
    assert unscalable_kind(tensor) == kind


def test_quotients_that_do_not_fit():
    """In half precision, whose largest number is 65504; on the meta device there are none."""
    half = torch.full((2, 2), 100.0, dtype=torch.float16)
    refuse_overflow("'weight'", largest(half), 0.01, half.dtype)
    refuse_overflow("'weight'", largest(half.to("meta")), 1e-30, half.dtype)
    with pytest.raises(errors.Unscalable, match=r"'weight' divided by c = 0.001 .* torch.float16"):
        refuse_overflow("'weight'", largest(half), 1e-3, half.dtype)
