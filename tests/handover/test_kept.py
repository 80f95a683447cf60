"""What an optimizer has kept of the values of its parameters."""

from collections import deque

import pytest
import torch
from torch import nn, optim

from equalized_lr import errors
from equalized_lr.handover.kept import refuse_kept_values


def parameter():
    return nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))


def keeping(p, *, state=None, **attributes):
    optimizer = optim.SGD([p], lr=0.1)
    if state is not None:
        optimizer.state[p] = state
    vars(optimizer).update(attributes)
    return optimizer


VALUES = torch.arange(4.0).reshape(2, 2)


@pytest.mark.parametrize(
    "kept",
    [
        {"state": {"slow": VALUES}},
        {"state": {"row": torch.tensor([1.0, 2.0])}},
        {"state": {"old": [VALUES]}},
        {"slow": VALUES},
        {"slow": [VALUES]},
        {"slow": {"a": (VALUES,)}},
        {"slow": deque([VALUES])},
    ],
)
def test_values(kept):
    """In the state or in an attribute, in whatever holds them."""
    p = parameter()
    with pytest.raises(errors.KeepsValues):
        refuse_kept_values(keeping(p, **kept), [p])


@pytest.mark.parametrize(
    "kept",
    [
        {"state": {"step": torch.tensor(3.0), "sum": torch.full((2, 2), 0.1)}},
        {"state": {"average": torch.zeros(2, 2)}},
        {"other": torch.arange(3.0)},
        {"hooks_of_mine": VALUES},
    ],
)
def test_what_does_not_depend_on_values(kept):
    """Counters, constants, zeros, and tensors that fit no parameter."""
    p = parameter()
    refuse_kept_values(keeping(p, **kept), [p])


def test_parameters_and_copies():
    """The parameters themselves are none; a copy of one that is constant is."""
    p = nn.Parameter(torch.full((2, 2), 3.0))
    refuse_kept_values(keeping(p, mine=[p]), [p])
    with pytest.raises(errors.KeepsValues, match="slow"):
        refuse_kept_values(keeping(p, slow=[p.detach().clone()]), [p])
