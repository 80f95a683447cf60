"""LREQAdam's class: what it refuses and reads; its rule is tests/property/test_lreqadam_law.py."""

import copy
import pickle

import pytest
import torch
from torch import nn

from equalized_lr import errors
from equalized_lr.optim import LREQAdam
from tests.support.assertions import assert_equal


def test_copies_keep_c():
    """Unlike an attribute of the Parameter, which `deepcopy` loses."""
    optimizer = LREQAdam([{"params": [nn.Parameter(torch.ones(2))], "equalized_scale": 0.1}])
    for twin in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert twin.param_groups[0]["equalized_scale"] == 0.1


def test_files_with_the_old_key():
    """A pickled optimizer whose groups have "scale" goes on with it."""
    p = nn.Parameter(torch.ones(2))
    optimizer = LREQAdam([{"params": [p], "equalized_scale": 0.5}], lr=1.0)
    (group,) = optimizer.param_groups
    group["scale"] = group.pop("equalized_scale")
    twin = copy.deepcopy(optimizer)
    (parameter,) = twin.param_groups[0]["params"]
    parameter.grad = torch.ones(2)
    twin.step()
    torch.testing.assert_close(parameter.detach(), torch.full((2,), 0.5))


def test_sparse_gradients():
    """Are refused, with nothing changed."""
    p = nn.Parameter(torch.ones(2))
    p.grad = torch.ones(2).to_sparse()
    with pytest.raises(RuntimeError, match="sparse"):
        LREQAdam([p]).step()
    assert_equal(p.detach(), torch.ones(2))


def test_momentum():
    """There is none in its rule."""
    with pytest.raises(errors.InvalidArgument, match="no momentum"):
        LREQAdam([nn.Parameter(torch.ones(2))], betas=(0.9, 0.99))


@pytest.mark.parametrize(
    "number",
    [{"lr": -1.0}, {"eps": -1.0}, {"weight_decay": -1.0}, {"betas": (0.0, 1.0)}],
    ids=["lr", "eps", "weight_decay", "betas"],
)
def test_numbers_out_of_range(number):
    """Each is refused by its name, and so is a c that is not positive."""
    p = nn.Parameter(torch.ones(2))
    with pytest.raises(errors.InvalidArgument, match=next(iter(number))):
        LREQAdam([p], **number)
    with pytest.raises(errors.InvalidArgument, match="equalized_scale"):
        LREQAdam([{"params": [p], "equalized_scale": 0.0}])


def test_a_closure():
    """It computes the loss that is returned, and the gradients of the step."""
    p = nn.Parameter(torch.ones(2))

    def closure():
        loss = p.sum()
        loss.backward()
        return loss

    assert LREQAdam([p], lr=1.0).step(closure) == 2.0
    torch.testing.assert_close(p.detach(), torch.zeros(2))
