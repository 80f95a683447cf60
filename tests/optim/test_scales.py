"""From names to Parameters: scales that fit the module, and those that do not."""

import math

import pytest
import torch
from torch import nn, optim

from equalized_lr import errors
from equalized_lr.optim import implicit


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(200, 50), nn.ReLU(), nn.Linear(50, 2))


def test_scales_that_do_not_fit():
    """Unknown names, impossible numbers, and a tie with two constants are refused."""
    net = mlp()
    for scales in ({"0.wieght": 1.0}, {"0.weight": 0.0}, {"0.weight": math.nan}, {"0.bias": True}):
        with pytest.raises(errors.InvalidArgument, match="scales"):
            implicit(optim.SGD, net, scales=scales, lr=1.0)
    tied = nn.ModuleDict({"embed": nn.Embedding(5, 4), "head": nn.Linear(4, 5, bias=False)})
    tied["head"].weight = tied["embed"].weight
    with pytest.raises(errors.ConflictingTie):
        implicit(optim.SGD, tied, scales={"embed.weight": 1.0, "head.weight": 0.5}, lr=1.0)
    assert len(implicit(optim.SGD, tied, lr=1.0).param_groups) == 1
