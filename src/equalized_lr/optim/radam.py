"""RAdam's early steps, which are those of SGD with momentum and have its power of c."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from equalized_lr.errors import MixedPhases
from equalized_lr.optim.stepping import Step, around_steps, not_compiled

Group = dict[str, Any]


def switch_early_steps(optimizer: Optimizer) -> None:
    """Lets the groups of a translated RAdam have, while not rectified, the rate that it needs.

    Liu et al. 2020, "On the variance of the adaptive learning rate and beyond", algorithm 2: while
    rho_t is 5 or less there is no second moment in the step, so that it is proportional to the
    gradient. The rate's power of c is then 2, and 1 after that.
    """

    def around(step: Step, closure: Any = None) -> Any:
        with _early_rates(optimizer, has_closure=closure is not None):
            return step(closure)

    if not getattr(optimizer, "_switches_early_steps", False):
        around_steps(optimizer, around)
        vars(optimizer)["_switches_early_steps"] = True


@contextmanager
def _early_rates(optimizer: Optimizer, *, has_closure: bool) -> Iterator[None]:
    early = [group for group in optimizer.param_groups if _is_early(optimizer, group, has_closure)]
    before = [(group["lr"], group["weight_decay"]) for group in early]
    for group, (lr, decay) in zip(early, before, strict=True):
        group["lr"] = lr * group["scale"]
        if group.get("decoupled_weight_decay", False):  # lr * weight_decay stays as it is
            group["weight_decay"] = decay / group["scale"]
    try:
        yield
    finally:
        for group, (lr, decay) in zip(early, before, strict=True):
            group["lr"], group["weight_decay"] = lr, decay


@not_compiled
def _is_early(optimizer: Optimizer, group: Group, has_closure: bool) -> bool:
    if group.get("scale", 1.0) == 1.0:
        return False
    moved = [p for p in group["params"] if p.requires_grad and (has_closure or p.grad is not None)]
    steps = {_steps_done(optimizer, p) + 1 for p in moved}
    phases = {not _is_rectified(step, group["betas"][1]) for step in steps}
    if len(phases) > 1:
        raise MixedPhases(sorted(steps))
    return phases == {True}


def _steps_done(optimizer: Optimizer, parameter: Tensor) -> int:
    return int(optimizer.state[parameter].get("step", 0)) if parameter in optimizer.state else 0


def _is_rectified(step: int, beta2: float) -> bool:
    limit = 2 / (1 - beta2) - 1
    return limit - 2 * step * beta2**step / (1 - beta2**step) > 5
