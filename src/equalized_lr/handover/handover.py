"""Hand-over in mid-training: an optimizer's groups and state follow parameters that are rescaled.

An optimizer that trains p, and one that trains c p with everything translated, go the same way.
So both directions are one operation: `equalize_lr` divides by c, `remove_equalized_lr` multiplies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor
from torch.optim import Optimizer

from equalized_lr.errors import InExplicitRates, NotTrained, SchedulerAttached, UnknownState
from equalized_lr.handover.groups import (
    EXPLICIT,
    Group,
    is_rescaled,
    parameters_of,
    translated_pieces,
)
from equalized_lr.handover.guard import guard
from equalized_lr.handover.kept import refuse_kept_values
from equalized_lr.handover.powers import Powers, has_no_powers, powers_of, times_power
from equalized_lr.handover.scaled_steps import StoredSteps, stored_steps_of
from equalized_lr.handover.stepping import and_inner, optimizers_of
from equalized_lr.tensors import largest, refuse_overflow

Optimizers = Optimizer | Sequence[Optimizer] | None


@dataclass(frozen=True)
class Handover:
    """A rescaling by c (direction 1) or 1 / c (-1) that was planned, and can no longer fail."""

    optimizer: Optimizer
    scales: dict[Tensor, float]
    direction: int

    def apply(self) -> None:
        """Translates the groups and the state in place."""
        if runs_stored(self.optimizer, self.scales):
            steps = stored_steps_of(self.optimizer) or StoredSteps(self.optimizer, {})
            steps.rescale(self.scales, self.direction)
        else:
            powers = powers_of(type(self.optimizer))
            translate(self.optimizer, powers, self.scales, self.direction)
        guard(self.optimizer)


@torch.no_grad()
def translate(
    optimizer: Optimizer, powers: Powers, scales: Mapping[Tensor, float], direction: int
) -> None:
    """Translates the numbers and the state of the parameters that have a scale."""
    for parameter, c in scales.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            power = powers.state[key] * direction
            if power and value is not None:
                with torch.inference_mode(value.is_inference()):  # where its steps were made there
                    value.mul_(c**power) if power > 0 else value.div_(c**-power)
    groups: list[Group] = []
    for group in optimizer.param_groups:
        first, *others = translated_pieces(powers, group, scales, direction)
        group.update(first)  # it stays the object that it is
        groups += [group, *others]
    optimizer.param_groups[:] = groups


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
        own = set(parameters_of(optimizer))
        trained = {p: c for p, c in scales.items() if p in own}
        if trained:
            _refuse_handover(optimizer, trained, direction)
            handovers.append(Handover(optimizer, trained, direction))
    if every and not handovers:
        raise NotTrained(", ".join(type(optimizer).__name__ for optimizer in every))
    return handovers


def _refuse_handover(optimizer: Optimizer, scales: dict[Tensor, float], direction: int) -> None:
    kind = type(optimizer).__name__
    if EXPLICIT in vars(optimizer):
        raise InExplicitRates(kind)
    if runs_stored(optimizer, scales):
        steps = stored_steps_of(optimizer)
        if steps:  # what wraps its optimizer sees effective weights
            for outer in takewhile(lambda each: each is not steps.optimizer, and_inner(optimizer)):
                refuse_kept_values(outer, scales)
        return
    powers = powers_of(type(optimizer))
    for parameter, c in scales.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            power = powers.state.get(key)
            if power is None or (power and not isinstance(value, Tensor | None)):
                raise UnknownState(kind, key)
            if power and value is not None:
                divisor = times_power(1.0, c, power, -direction)
                refuse_overflow(f"the optimizer's '{key}'", largest(value), divisor, value.dtype)
    # Note [The mark of a scheduler]: an optimizer does not know its schedulers, but each of torch's
    # writes the rate that it begins with into every group, also through a wrapper of the optimizer.
    if any("initial_lr" in group for group in optimizer.param_groups):
        raise SchedulerAttached(kind)


def runs_stored(optimizer: Optimizer, scales: Mapping[Tensor, float]) -> bool:
    """Whether the optimizer steps on stored weights, since translation is not exact."""
    return stored_steps_of(optimizer) is not None or any(
        is_rescaled(group, scales) and has_no_powers(type(optimizer), group)
        for group in optimizer.param_groups
    )
