"""One group becomes several, with its numbers translated."""

import torch
from torch import optim

from equalized_lr.handover.groups import scale_of, split, translated
from equalized_lr.handover.powers import POWERS


def test_one_group_for_each_scale():
    """In the order in which they come, with the names of their parameters."""
    a, b, c, d = (torch.ones(1) for _ in range(4))
    group = {"params": [a, b, c, d], "param_names": list("abcd"), "lr": 0.5}
    pieces = [(s, p["param_names"], p["lr"]) for s, p in split(group, {a: 0.5, c: 2.0, d: 0.5})]
    assert pieces == [(0.5, ["a", "d"], 0.5), (1.0, ["b"], 0.5), (2.0, ["c"], 0.5)]


def test_numbers_of_a_group():
    """Those that it has, in both directions; with c = 1 there is nothing to do."""
    group = {"lr": 0.5, "weight_decay": 0.25, "momentum": 0.9}
    assert translated(POWERS[optim.SGD], group, 0.5, 1) == {"lr": 0.125, "weight_decay": 1.0}
    assert translated(POWERS[optim.SGD], group, 0.5, -1) == {"lr": 2.0, "weight_decay": 0.0625}
    assert translated(POWERS[optim.SGD], group, 1.0, 1) == {}


def test_the_scale_of_a_group():
    """Its own key alone counts."""
    assert scale_of({"equalized_scale": 0.5, "scale": 3.0}) == 0.5
    assert scale_of({"scale": 3.0}) == 1.0
