"""The numbers of translated groups in the units of the explicit form, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from equalized_lr.errors import InExplicitRates
from equalized_lr.handover.groups import EXPLICIT, Group, scale_of, translated
from equalized_lr.handover.powers import Powers, powers_of
from equalized_lr.handover.stepping import unwrapped


@contextmanager
def explicit_rates(optimizer: Optimizer) -> Iterator[None]:
    """Inside, the groups have the numbers of the explicit form, for any scheduler.

    Schedulers that multiply every rate by one factor need no such thing: StepLR, MultiStepLR,
    ExponentialLR, LambdaLR, LinearLR, PolynomialLR, CosineAnnealingLR with eta_min = 0. Those that
    compare or set rates go by numbers which are not those of a translated group:
    CosineAnnealingLR with eta_min > 0, OneCycleLR, CyclicLR, ReduceLROnPlateau. Make and step them
    in here, and each group follows the explicit schedule. Whatever else is set in here, such as
    `weight_decay` or `eps`, is set as in the explicit form, too. Inside of another block for the
    same optimizer, this one does nothing.

    Example:
        >>> layer = nn.Linear(200, 1, bias=False)
        >>> optimizer = implicit(torch.optim.Adam, layer, lr=1e-2)
        >>> with explicit_rates(optimizer):
        ...     schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1, eta_min=1e-3)
        >>> optimizer.step()
        >>> with explicit_rates(optimizer):
        ...     schedule.step()
        >>> optimizer.param_groups[0]["lr"]  # 0.1 times eta_min
        0.0001

    Args:
        optimizer: of `implicit` or `param_groups`, or after a hand-over; others stay as they are.

    Raises:
        UnknownOptimizer: the groups are translated, but not for a class of the table.
        InExplicitRates: later, from a step, a save, a load, a copy or a hand-over in here.
    """
    inner = unwrapped(optimizer)
    groups = [group for group in inner.param_groups if scale_of(group) != 1]
    powers = powers_of(type(inner)) if groups else None
    if powers is None or powers.by_scale or EXPLICIT in vars(inner):
        yield
        return
    before = [_numbers(powers, group) for group in groups]
    for group, numbers in zip(groups, before, strict=True):
        _put(group, translated(powers, group | numbers, scale_of(group), -1))
    inside = [_numbers(powers, group) for group in groups]
    try:
        with _refusing_all_but_schedules(inner):
            yield
    finally:
        for group, old, start in zip(groups, before, inside, strict=True):
            now = _numbers(powers, group)
            _put(group, translated(powers, group | now, scale_of(group), 1))
            # Not even the last bit changes of what was not set.
            _put(group, {key: old[key] for key in start if now.get(key) == start[key]})


@contextmanager
def _refusing_all_but_schedules(optimizer: Optimizer) -> Iterator[None]:
    def refuse(*_: Any) -> None:
        raise InExplicitRates(type(optimizer).__name__)

    with (
        optimizer.register_step_pre_hook(refuse),
        optimizer.register_state_dict_pre_hook(refuse),
        optimizer.register_load_state_dict_pre_hook(refuse),
    ):
        vars(optimizer).update({EXPLICIT: True, "__getstate__": refuse})
        try:
            yield
        finally:
            for key in (EXPLICIT, "__getstate__"):
                del vars(optimizer)[key]


def _numbers(powers: Powers, group: Group) -> Group:
    numbers = {key: group[key] for key in powers.of_group(group) if key in group}
    return {key: v.item() if isinstance(v, Tensor) else v for key, v in numbers.items()}


def _put(group: Group, numbers: Group) -> None:
    for key, value in numbers.items():
        if isinstance(group[key], Tensor):  # which captured graphs may hold
            group[key].fill_(value)
        else:
            group[key] = value
