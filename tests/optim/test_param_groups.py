"""`param_groups`: groups for those who build the optimizer themselves."""

import pytest
import torch
from torch import nn, optim

from equalized_lr import errors
from equalized_lr.handover import powers
from equalized_lr.optim import implicit, param_groups
from equalized_lr.optional import MUON


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(200, 50), nn.ReLU(), nn.Linear(50, 2))


@pytest.mark.parametrize("kind", [k for k in powers.POWERS if k not in (MUON, optim.SparseAdam)])
def test_groups_build_the_same_optimizer(kind):
    """`kind(param_groups(kind, ...))` has the groups of `implicit`, or is refused with the cure."""
    net = mlp()
    made = implicit(kind, net, lr=0.01)
    if kind in (optim.RAdam, optim.Adafactor):
        with pytest.raises(errors.NoConstantTranslation, match=f"implicit\\({kind.__name__}"):
            param_groups(kind, net, lr=0.01)
        return
    assert kind(param_groups(kind, net, lr=0.01)).param_groups == made.param_groups


def test_what_groups_cannot_do():
    """An accumulator that torch would ignore is refused; where all c are 1 nothing is."""
    net = mlp()
    with pytest.raises(errors.NoConstantTranslation, match="accumulators"):
        param_groups(optim.Adagrad, net, initial_accumulator_value=0.1)
    assert param_groups(optim.Adagrad, net, scales={}, initial_accumulator_value=0.1)
    implicit(optim.Adagrad, net, initial_accumulator_value=0.1)
