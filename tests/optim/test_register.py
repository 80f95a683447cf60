"""Optimizers of other packages: Lion, with a row of its own."""

import pytest
import torch
from torch import optim

from equalized_lr import errors
from equalized_lr.handover.powers import POWERS
from equalized_lr.optim import explicit_rates, forms_apart, implicit, register
from tests.support.trajectories import fixed


class Lion(optim.Optimizer):
    """Chen et al. 2023, "Symbolic discovery of optimization algorithms", algorithm 2."""

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                if p.grad is not None:
                    average = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.sub_(group["lr"] * average.lerp(p.grad, 1 - beta1).sign())
                    average.lerp_(p.grad, 1 - beta2)


NUMBERS = {"lr": 0.01, "weight_decay": 0.5}


@pytest.fixture
def lion():
    """A class that is registered for one test."""
    kind = type("Lion", (Lion,), {})
    yield kind
    POWERS.pop(kind, None)


def test_a_row_of_ones_own(lion):
    """After `register` both verbs, hand-over and `explicit_rates` know the class."""
    with pytest.raises(errors.UnknownOptimizer):
        forms_apart(lion, **NUMBERS)
    register(lion, lr=1, state={"exp_avg": -1}, decoupled=True)
    assert forms_apart(lion, **NUMBERS) < 1e-13
    net, scales = fixed()
    optimizer = implicit(lion, net, scales=scales, lr=0.5)
    assert optimizer.param_groups[0]["lr"] == 0.5 * 0.35
    with explicit_rates(optimizer):
        assert optimizer.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize(
    "wrong",
    [
        {"lr": 2},
        {"lr": 0},
        {"state": {"exp_avg": 1}},
        {"decoupled": False},
    ],
)
def test_wrong_powers_are_seen(lion, wrong):
    """Negative control: each of them brings the forms apart."""
    right = {"lr": 1, "state": {"exp_avg": -1}, "decoupled": True}
    register(lion, **right | wrong)
    assert not forms_apart(lion, **NUMBERS) < 1e-3


def test_state_that_is_not_named(lion):
    """It is refused at the hand-over, never guessed."""
    register(lion, lr=1, state={}, decoupled=True)
    with pytest.raises(errors.UnknownState, match="exp_avg"):
        forms_apart(lion, **NUMBERS)


def test_registering_twice(lion):
    """The same powers may be said again, as notebooks do; others are refused."""
    for _ in range(2):
        register(lion, lr=1, state={"exp_avg": -1}, decoupled=True)
    with pytest.raises(errors.InvalidArgument, match="registered already"):
        register(lion, lr=2, state={"exp_avg": -1}, decoupled=True)
    with pytest.raises(errors.InvalidArgument, match="registered already"):
        register(optim.SGD, lr=1, state={})


def test_the_measure_leaves_no_trace():
    """Nobody's random numbers are drawn, and what torch has is known to be right."""
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert forms_apart(optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.1) < 1e-13
    assert torch.equal(torch.get_rng_state(), before)
