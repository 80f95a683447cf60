"""What is inside of a wrapper, and which optimizers torch runs hooks of."""

import copy

import pytest
import torch
from torch import nn, optim
from torch.optim.lr_scheduler import ExponentialLR

from equalized_lr import errors
from equalized_lr.handover.stepping import (
    and_inner,
    around_steps,
    optimizers_of,
    runs_hooks,
    unwrapped,
)


class Wrapper(optim.Optimizer):
    """An optimizer by its class only."""

    def __init__(self, base):
        self.base, self.itself = base, self


def sgd():
    return optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)


def test_from_the_outside_in():
    """Whatever the attribute is called, and though a wrapper refers to itself."""
    inner = sgd()
    middle = Wrapper(inner)
    outer = Wrapper(middle)
    assert [id(each) for each in and_inner(outer)] == [id(outer), id(middle), id(inner)]
    assert unwrapped(outer) is inner
    assert unwrapped(inner) is inner
    assert [runs_hooks(each) for each in (outer, middle, inner)] == [False, False, True]


def test_one_or_several():
    """As a list; something else is refused."""
    one = sgd()
    assert optimizers_of(one) == [one]
    assert optimizers_of((one, one)) == [one, one]
    with pytest.raises(errors.InvalidArgument, match=r"torch.optim.Optimizer"):
        optimizers_of([one, "adam"])


@pytest.mark.parametrize("scheduler_first", [True, False])
def test_around_a_step(scheduler_first):
    """It runs once for each step beside a scheduler, and copies are refused."""
    optimizer, calls = sgd(), []

    def around(step, *args):
        calls.append("before")
        result = step(*args)
        calls.append("after")
        return result

    schedule = ExponentialLR(optimizer, 0.5) if scheduler_first else None
    around_steps(optimizer, around)
    schedule = schedule or ExponentialLR(optimizer, 0.5)
    assert optimizer.step(lambda: 3.0) == 3.0
    schedule.step()
    assert calls == ["before", "after"]
    with pytest.raises(errors.NotCopyable):
        copy.copy(optimizer)


def test_a_step_that_the_compiler_is_kept_from():
    """Its marks, as those of torch 2.6 on LBFGS, do not lead past what runs around it."""

    class Marked(optim.SGD):
        @torch.compiler.disable
        def step(self, closure=None):
            return super().step(closure)

    optimizer, calls = Marked([nn.Parameter(torch.ones(1))], lr=0.1), []
    around_steps(optimizer, lambda step, *args: calls.append(args) or step(*args))
    optimizer.step()
    assert calls == [()]
