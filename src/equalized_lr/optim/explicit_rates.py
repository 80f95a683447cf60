"""Learning-rate schedules in the units of the explicit form."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from equalized_lr.handover.groups import SCALE, scale_of
from equalized_lr.handover.powers import RATES, powers_of, times_power


@contextmanager
def explicit_rates(optimizer: Optimizer) -> Iterator[None]:
    """Inside, the groups have the learning rates of the explicit form, for any scheduler.

    Schedulers that multiply every rate by one factor need no such thing: StepLR, MultiStepLR,
    ExponentialLR, LambdaLR, LinearLR, PolynomialLR, CosineAnnealingLR with eta_min = 0. Those that
    compare or set rates go by numbers which are not those of a translated group:
    CosineAnnealingLR with eta_min > 0, OneCycleLR, CyclicLR, ReduceLROnPlateau. Make and step them
    in here, and each group follows the explicit schedule.

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
    """
    translated = [group for group in optimizer.param_groups if scale_of(group) != 1]
    power = powers_of(type(optimizer)).lr if translated else 0
    before = [{key: _value(group[key]) for key in RATES if key in group} for group in translated]
    for group in translated:
        _rescale(group, power, -1)
    inside = [{key: _value(group[key]) for key in RATES if key in group} for group in translated]
    try:
        yield
    finally:
        for group, old, seen in zip(translated, before, inside, strict=True):
            unchanged = {key for key in seen if _value(group[key]) == seen[key]}
            _rescale(group, power, 1)
            for key in unchanged:  # not even the last bit changes
                _put(group, key, old[key])


def _rescale(group: dict[str, Any], power: int, direction: int) -> None:
    for key in RATES:
        if key in group:
            _put(group, key, times_power(group[key], group[SCALE], power, direction))


def _put(group: dict[str, Any], key: str, value: Any) -> None:
    if isinstance(group[key], Tensor):  # which captured graphs may hold
        group[key].copy_(value) if isinstance(value, Tensor) else group[key].fill_(value)
    else:
        group[key] = value


def _value(rate: Any) -> float:
    return float(rate)
