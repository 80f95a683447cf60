"""Hand-over in mid-training: an optimizer's groups and state follow parameters that are rescaled.

An optimizer that trains p, and one that trains c p with everything translated, go the same way.
So both directions are one operation: `equalize_lr` divides by c, `remove_equalized_lr` multiplies.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, optim
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from equalized_lr.errors import (
    NotTrained,
    SchedulerAttached,
    UnknownState,
    Unscalable,
)
from equalized_lr.optim.groups import Group, split, translated
from equalized_lr.optim.radam import switch_early_steps
from equalized_lr.optim.scaled_steps import ScaledSteps, scaled_steps_of
from equalized_lr.optim.stepping import optimizers_of
from equalized_lr.optim.table import Row, row_of, times_power, without_constant_translation
from equalized_lr.tensors import living

Optimizers = Optimizer | Sequence[Optimizer] | None


@dataclass(frozen=True)
class Handover:
    """A rescaling that was planned, and can no longer fail.

    Attributes:
        optimizer: the optimizer.
        factors: the constants of the parameters that are rescaled and that it holds.
        direction: 1 where they are multiplied by the constant, -1 where they are divided.
    """

    optimizer: Optimizer
    factors: dict[Tensor, float]
    direction: int

    def apply(self) -> None:
        """Translates the groups and the state in place."""
        if runs_scaled(self.optimizer, self.factors):
            steps = scaled_steps_of(self.optimizer) or ScaledSteps.at(self.optimizer, {})
            steps.rescale(self.factors, self.direction)
            return
        row = row_of(type(self.optimizer))
        with torch.no_grad():
            for parameter, c in self.factors.items():
                self._translate_state(row, self.optimizer.state.get(parameter, {}), c)
        groups = [self._pieces(row, group) for group in self.optimizer.param_groups]
        self.optimizer.param_groups[:] = [piece for pieces in groups for piece in pieces]
        if isinstance(self.optimizer, optim.RAdam):
            switch_early_steps(self.optimizer)

    def _translate_state(self, row: Row, state: dict[str, Any], c: float) -> None:
        for key, value in state.items():
            power = row.state[key] * self.direction
            if power and value is not None:
                value.mul_(c**power) if power > 0 else value.div_(c**-power)

    def _pieces(self, row: Row, group: Group) -> list[Group]:
        pieces = []
        for c, piece in split(group, self.factors):
            pieces.append(piece | translated(row, piece, c, self.direction))
            if c != 1:
                scale = piece.get("scale", 1.0)
                pieces[-1]["scale"] = times_power(scale, c, 1, self.direction)
        group.update(pieces[0])  # the first one stays the object that it is
        return [group, *pieces[1:]]


def plan_handovers(
    given: Optimizers, constants: Mapping[Tensor, float], direction: int
) -> list[Handover]:
    """Those of all optimizers that hold one of the parameters; all faults are found here.

    Raises:
        InvalidArgument: something else than an optimizer was given.
        NotTrained: no optimizer holds any of the parameters.
        UnknownOptimizer: its class is not in the table, and it does not run under `ScaledSteps`.
        UnknownState: it has kept something that is not in the table.
        SchedulerAttached: a scheduler goes by the groups as they are.
        Unscalable: its state would not fit into its dtype.
    """
    optimizers = [] if given is None else optimizers_of(given)
    handovers = []
    for optimizer in optimizers:
        held = {p for group in optimizer.param_groups for p in group["params"]}
        factors = {p: c for p, c in constants.items() if p in held}
        if factors:
            handovers.append(_plan_handover(optimizer, factors, direction))
    if optimizers and not handovers:
        raise NotTrained(", ".join(type(optimizer).__name__ for optimizer in optimizers))
    return handovers


def _plan_handover(optimizer: Optimizer, factors: dict[Tensor, float], direction: int) -> Handover:
    handover = Handover(optimizer, factors, direction)
    if runs_scaled(optimizer, factors):
        return handover
    row = row_of(type(optimizer))
    for parameter, c in factors.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            power = row.state.get(key)
            if power is None or (power and not isinstance(value, Tensor | None)):
                raise UnknownState(type(optimizer).__name__, key)
            _refuse_overflow(key, value, c, power * direction)
    _refuse_scheduler(optimizer)
    return handover


def runs_scaled(optimizer: Optimizer, factors: Mapping[Tensor, float]) -> bool:
    """Whether the parameters are followed by `ScaledSteps`, since translation is not exact.

    Adagrad's reason is none here: its state has been made, and is translated.
    """
    if scaled_steps_of(optimizer):
        return True
    return type(optimizer) is optim.Adafactor and any(
        without_constant_translation(type(optimizer), group)
        for group in optimizer.param_groups
        if any(factors.get(p, 1.0) != 1 for p in group["params"])
    )


def _refuse_overflow(key: str, value: Any, c: float, power: int) -> None:
    if power and isinstance(value, Tensor) and value.dtype == torch.float16:
        factor = times_power(1.0, c, power)
        if float(value.abs().max()) * factor > torch.finfo(value.dtype).max:
            raise Unscalable(f"the optimizer's '{key}'", 1 / factor, str(value.dtype))


def _refuse_scheduler(optimizer: Optimizer) -> None:
    # An optimizer does not know its schedulers, so they are looked for among all that live.
    if next(_schedulers_of(optimizer), None):
        gc.collect()  # one that was dropped may still be there, in a cycle
        for scheduler in _schedulers_of(optimizer):
            raise SchedulerAttached(type(scheduler).__name__)


def _schedulers_of(optimizer: Optimizer) -> Iterator[LRScheduler]:
    return (s for s in living(LRScheduler) if vars(s).get("optimizer") is optimizer)
