"""A user's program, for type checkers: they must find the package typed, and each call well typed.

mypy --strict tests/support/consumer.py
pyright tests/support/consumer.py
"""

from collections.abc import Mapping
from typing import assert_type

import torch
from torch import Tensor, nn

from equalized_lr import (
    Fan,
    LearningSpeed,
    cached,
    describe,
    equalize_lr,
    fans,
    he_scales,
    is_equalized,
    observe,
    plain_state_dict,
    remove_equalized_lr,
    translate_lr,
)
from equalized_lr.checkpoint import families, to_plain
from equalized_lr.optim import LREQAdam, ScaledSteps, clip_grad_norm_, implicit, init_


class Critic(nn.Sequential):
    """A module of the user's own, whose type is to survive."""


def explicit(critic: Critic) -> None:
    assert_type(equalize_lr(critic, gain=1.0, mode="fan_in"), Critic)
    equalize_lr(critic, gain=nn.functional.gelu, fans=observe(critic, torch.ones(1, 2)))
    equalize_lr(critic, lr_mul=lambda fan: fan**-0.5, optimizer=None)
    # Typos; an ignored error that is none is an error of mypy.
    equalize_lr(critic, mode="fan-in")  # type: ignore[arg-type]
    equalize_lr(critic, init="kept")  # type: ignore[arg-type]
    assert_type(translate_lr(critic, 1e-3), float)
    assert_type(is_equalized(critic), bool)
    assert_type(fans(nn.Linear(2, 3)), dict[str, Fan])
    assert_type(he_scales(critic), dict[str, float])
    with cached():
        critic(torch.ones(1, 2))
    state: Mapping[str, Tensor] = plain_state_dict(critic)
    assert_type(remove_equalized_lr(critic), Critic)
    assert_type(str(describe(critic)), str)
    assert_type(len(state), int)


def by_optimizer(critic: Critic) -> None:
    optimizer = implicit(torch.optim.Adam, init_(critic), lr=1e-3)
    assert_type(optimizer, torch.optim.Adam)
    assert_type(implicit(LREQAdam, critic, lr=1e-3), LREQAdam)
    ScaledSteps(torch.optim.SGD(critic.parameters(), lr=0.1), critic)
    clip_grad_norm_(optimizer, 1.0)
    with LearningSpeed(critic, optimizer) as speed:
        optimizer.step()
    assert_type(str(speed.table()), str)


def checkpoints(state: dict[str, Tensor]) -> None:
    assert_type(families(), list[str])
    to_plain(state, "stylegan2-ada")
