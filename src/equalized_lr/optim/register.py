"""Optimizers of other packages: their powers, and a test of them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from equalized_lr.equalize import equalize_lr, remove_equalized_lr
from equalized_lr.errors import InvalidArgument
from equalized_lr.handover.powers import POWERS, Power, Powers
from equalized_lr.optim.implicit import implicit
from equalized_lr.plan.scales import he_scales

STEPS = 50


def register(
    optimizer_class: type[Optimizer],
    *,
    lr: int,
    state: Mapping[str, int],
    others: Mapping[str, Power] | None = None,
    decoupled: bool = False,
) -> None:
    """Tells how the numbers of an optimizer class change when its parameter is multiplied by c.

    After that, `implicit`, `param_groups`, hand-over and `explicit_rates` know the class. Whether
    the powers are right, `forms_apart` says. `ScaledSteps` needs none of this.

    Example:
        >>> class MyAdam(torch.optim.Adam):
        ...     pass
        >>> state = {"step": 0, "exp_avg": -1, "exp_avg_sq": -2}
        >>> register(MyAdam, lr=1, state=state, others={"eps": -1})
        >>> forms_apart(MyAdam, lr=1e-2, eps=1e-2) < 1e-12
        True

    Args:
        optimizer_class: the class itself; subclasses may have another rule.
        lr: the power k of the learning rate: the implicit form has c**k times that of the explicit
            one. 1 where gradients of any size make the same step (Adam, Lion), 2 for SGD's rule.
        state: the power of each tensor of the state, by key: -1 for averages of gradients, -2 for
            those of their squares, 1 for averages of weights, 0 for counters.
        others: the powers of other hyper-parameters that have one, such as {"eps": -1}.
        decoupled: whether weight decay multiplies the weight (AdamW), or is added to the gradient.

    Raises:
        InvalidArgument: the class is registered already, with other powers.
    """
    powers = Powers(lr, dict(state), dict(others or {}), decoupled)
    if POWERS.setdefault(optimizer_class, powers) != powers:
        kind = optimizer_class.__name__
        raise InvalidArgument("optimizer_class", kind, "one that is not registered already")


def forms_apart(optimizer_class: type[Optimizer], **hyperparameters: Any) -> float:
    """How far two forms of one training come apart in 50 steps.

    One is implicit, the other explicit at first and handed over half-way. With the right powers it
    is about 1e-14. Give each number a value at which it matters, such as `eps=1e-2` and
    `weight_decay=0.1`: a wrong power is not seen where it does not.

    Example:
        >>> forms_apart(torch.optim.Adam, lr=1e-2, eps=1e-2, weight_decay=0.1) < 1e-12
        True

    Args:
        optimizer_class: one of the table, or registered.
        **hyperparameters: those of the explicit form.

    Returns:
        The largest difference between effective weights, relative to the largest of their layer.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = (nn.Linear(6, 50), nn.Tanh(), nn.Linear(50, 2), nn.Tanh(), nn.Linear(2, 3))
        plain = nn.Sequential(*layers).double()
    changing = equalize_lr(copy.deepcopy(plain), gain=4.0, lr_mul=0.2, init="keep")
    scales = he_scales(changing)  # far apart: 0.33, 0.11, 0.57, and 0.2 for biases
    optimizer = optimizer_class(changing.parameters(), **hyperparameters)
    _train(changing, optimizer, range(STEPS // 2))
    remove_equalized_lr(changing, optimizer=optimizer)
    _train(changing, optimizer, range(STEPS // 2, STEPS))
    _train(plain, implicit(optimizer_class, plain, scales=scales, **hyperparameters), range(STEPS))
    pairs = zip(plain.state_dict().values(), changing.state_dict().values(), strict=True)
    return max(float((p - q).abs().max() / q.abs().max()) for p, q in pairs)


def _train(net: nn.Module, optimizer: Optimizer, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        output = net(torch.randn(8, 6, dtype=torch.float64, generator=generator))
        optimizer.zero_grad()
        (output.sin() + output.cos()).mean().backward()
        optimizer.step()
