"""Hand-over in mid-training: an optimizer's groups and state follow parameters that are rescaled.

An optimizer that trains p, and one that trains c p with everything translated, go the same way.
So both directions are one operation: `equalize_lr` divides by c, `remove_equalized_lr` multiplies.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
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
) -> list[Callable[[], None]]:
    """What hands over each optimizer that holds one of the parameters, and can no longer fail.

    Direction 1 stands for a rescaling by c, -1 for one by 1 / c.

    Raises:
        EqualizedLRError: one of the optimizers cannot be handed over.
    """
    every = [] if optimizers is None else optimizers_of(optimizers)
    handovers: list[Callable[[], None]] = []
    for optimizer in every:
        own = set(parameters_of(optimizer))
        trained = {p: c for p, c in scales.items() if p in own}
        if trained:
            _refuse_handover(optimizer, trained, direction)
            handovers.append(partial(_hand_over, optimizer, trained, direction))
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


def _hand_over(optimizer: Optimizer, scales: dict[Tensor, float], direction: int) -> None:
    if runs_stored(optimizer, scales):
        steps = stored_steps_of(optimizer) or StoredSteps(optimizer, {})
        steps.rescale(scales, direction)
    else:
        translate(optimizer, powers_of(type(optimizer)), scales, direction)
    guard(optimizer)


def runs_stored(optimizer: Optimizer, scales: Mapping[Tensor, float]) -> bool:
    """Whether the optimizer steps on stored weights, since translation is not exact."""
    return stored_steps_of(optimizer) is not None or any(
        is_rescaled(group, scales) and has_no_powers(type(optimizer), group)
        for group in optimizer.param_groups
    )
