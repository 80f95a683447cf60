"""Hand-over in mid-training: an optimizer's groups and state follow parameters that are rescaled.

An optimizer that trains p, and one that trains c p with everything translated, go the same way.
So both directions are one operation: `equalize_lr` divides by c, `remove_equalized_lr` multiplies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, optim
from torch.optim import Optimizer

from equalized_lr.errors import (
    InExplicitRates,
    NotTrained,
    SchedulerAttached,
    UnknownState,
    Unscalable,
)
from equalized_lr.handover.groups import EXPLICIT, SCALE, Group, scale_of, split, translated
from equalized_lr.handover.guard import guard
from equalized_lr.handover.kept import refuse_kept_values
from equalized_lr.handover.powers import Powers, has_no_powers, powers_of, times_power
from equalized_lr.handover.scaled_steps import StoredSteps, stored_steps_of
from equalized_lr.handover.stepping import and_inner, optimizers_of

Optimizers = Optimizer | Sequence[Optimizer] | None


@dataclass(frozen=True)
class Handover:
    """A rescaling that was planned, and can no longer fail.

    Attributes:
        optimizer: the optimizer.
        scales: c of the parameters that are rescaled and that it holds.
        direction: 1 where they are multiplied by c, -1 where they are divided.
    """

    optimizer: Optimizer
    scales: dict[Tensor, float]
    direction: int

    def apply(self) -> None:
        """Translates the groups and the state in place."""
        if runs_stored(self.optimizer, self.scales):
            steps = stored_steps_of(self.optimizer) or StoredSteps(self.optimizer, {})
            steps.rescale(self.scales, self.direction)
            guard(self.optimizer)
            return
        powers = powers_of(type(self.optimizer))
        with torch.no_grad():
            for parameter, c in self.scales.items():
                self._translate_state(powers, self.optimizer.state.get(parameter, {}), c)
        groups = [self._pieces(powers, group) for group in self.optimizer.param_groups]
        self.optimizer.param_groups[:] = [piece for pieces in groups for piece in pieces]
        guard(self.optimizer)

    def _translate_state(self, powers: Powers, state: dict[str, Any], c: float) -> None:
        for key, value in state.items():
            power = powers.state[key] * self.direction
            if power and value is not None:
                value.mul_(c**power) if power > 0 else value.div_(c**-power)

    def _pieces(self, powers: Powers, group: Group) -> list[Group]:
        pieces = []
        for c, piece in split(group, self.scales):
            pieces.append(piece | translated(powers, piece, c, self.direction))
            if c != 1:
                pieces[-1][SCALE] = times_power(scale_of(piece), c, 1, self.direction)
        group.update(pieces[0])  # the first one stays the object that it is
        return [group, *pieces[1:]]


def plan_handovers(
    optimizers: Optimizers, scales: Mapping[Tensor, float], direction: int
) -> list[Handover]:
    """Those of all optimizers that hold one of the parameters; all faults are found here.

    Raises:
        InvalidArgument: something else than an optimizer was given.
        NotTrained: no optimizer holds any of the parameters.
        UnknownOptimizer: its class is not in the table, and it does not run under `ScaledSteps`.
        UnknownState: it has kept something that is not in the table.
        KeepsValues: a wrapper of it has kept weights of the present form.
        SchedulerAttached: a scheduler goes by the groups as they are.
        Unscalable: its state would not fit into its dtype.
    """
    every = [] if optimizers is None else optimizers_of(optimizers)
    handovers = []
    for optimizer in every:
        own = {p for group in optimizer.param_groups for p in group["params"]}
        trained = {p: c for p, c in scales.items() if p in own}
        if trained:
            handovers.append(_plan_handover(optimizer, trained, direction))
    if every and not handovers:
        raise NotTrained(", ".join(type(optimizer).__name__ for optimizer in every))
    return handovers


def _plan_handover(optimizer: Optimizer, scales: dict[Tensor, float], direction: int) -> Handover:
    handover = Handover(optimizer, scales, direction)
    if EXPLICIT in vars(optimizer):
        raise InExplicitRates(type(optimizer).__name__)
    if runs_stored(optimizer, scales):
        _refuse_wrapper(optimizer, scales)
        return handover
    powers = powers_of(type(optimizer))
    for parameter, c in scales.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            power = powers.state.get(key)
            if power is None or (power and not isinstance(value, Tensor | None)):
                raise UnknownState(type(optimizer).__name__, key)
            _refuse_overflow(key, value, c, power * direction)
    _refuse_scheduler(optimizer)
    return handover


def runs_stored(optimizer: Optimizer, scales: Mapping[Tensor, float]) -> bool:
    """Whether the optimizer steps on stored weights, since translation is not exact."""
    if stored_steps_of(optimizer):
        return True
    return type(optimizer) in (optim.Adafactor, optim.RAdam) and any(
        has_no_powers(type(optimizer), group)
        for group in optimizer.param_groups
        if any(scales.get(p, 1.0) != 1 for p in group["params"])
    )


def _refuse_overflow(key: str, value: Any, c: float, power: int) -> None:
    if power and isinstance(value, Tensor) and value.dtype == torch.float16:
        factor = times_power(1.0, c, power)
        if float(value.abs().max()) * factor > torch.finfo(value.dtype).max:
            raise Unscalable(f"the optimizer's '{key}'", 1 / factor, str(value.dtype))


def _refuse_wrapper(optimizer: Optimizer, scales: Mapping[Tensor, float]) -> None:
    """What wraps an optimizer on stored weights sees effective ones, and may have kept some."""
    steps = stored_steps_of(optimizer)
    for outer in and_inner(optimizer):
        if steps is None or outer is steps.optimizer:
            return
        refuse_kept_values(outer, scales)


def _refuse_scheduler(optimizer: Optimizer) -> None:
    # Note [The mark of a scheduler]: an optimizer does not know its schedulers, but each of torch's
    # writes the rate that it begins with into every group, also through a wrapper of the optimizer.
    if any("initial_lr" in group for group in optimizer.param_groups):
        raise SchedulerAttached(type(optimizer).__name__)
