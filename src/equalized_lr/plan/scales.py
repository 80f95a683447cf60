"""The constants of a whole model, by name, and what they make of a learning rate."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import SupportsFloat

from torch import Tensor, nn

from equalized_lr.arguments import positive, refuse_non_module
from equalized_lr.errors import ConflictingTie, InvalidArgument, NothingToEqualize
from equalized_lr.plan.checks import refuse_computed
from equalized_lr.plan.plan import Where, plan_model
from equalized_lr.plan.rule import SQRT2, Gain, LrMul, Mode, Rule
from equalized_lr.plan.slots import Fans, bias_of, named_slots, slots_of


def he_scales(
    module: nn.Module,
    *,
    gain: Gain = SQRT2,
    mode: Mode = "fan_in",
    lr_mul: LrMul = 1.0,
    where: Where | None = None,
    fans: Fans | None = None,
) -> dict[str, float]:
    """The constant c of every weight, by its plain qualified name.

    For equalized weights it is the c in force, for plain ones the c that `equalize_lr` would give
    them; with lr_mul other than 1 the biases are in it too. The result is a dict, so that
    exceptions are a union: `he_scales(net) | {"to_rgb.weight": c}`.

    Example:
        >>> he_scales(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2)), gain=1.0)
        {'0.weight': 0.35355339059327373, '2.weight': 0.5}

    Args:
        module: plain, equalized or mixed.
        gain: as in `equalize_lr`.
        mode: as in `equalize_lr`.
        lr_mul: as in `equalize_lr`.
        where: as in `equalize_lr`.
        fans: as in `equalize_lr`.

    Raises:
        EqualizedLRError: as `equalize_lr`, where a weight has no scale.
    """
    refuse_non_module(module)
    plan = plan_model(module, Rule.checked(gain, mode, lr_mul), where, {} if fans is None else fans)
    scales = {(slot.path, slot.name): share.scale for share in plan.shares for slot in share.slots}
    result: dict[str, float] = {}
    for slot in slots_of(module):
        scale = scales.get((slot.path, slot.name))
        if slot.scale is not None and (where is None or where(slot.path, slot.module)):
            scale = slot.scale
        if scale is not None:
            result[slot.qualified_name] = scale
    return result


def translate_lr(
    module: nn.Module, lr: SupportsFloat, *, scales: Mapping[str, float] | None = None
) -> float:
    """The rate at which the equalized model learns as fast as the plain one does at `lr`.

    In the equalized form the learning rate is the relative step: under Adam, lr = 0.01 changes each
    weight by about one percent of its size in a step. A plain weight of size c changes by lr / c
    instead; the result is lr over the geometric mean of c, in which each weight counts once.

    Example:
        >>> model = nn.Sequential(nn.Linear(200, 50), nn.ReLU(), nn.Linear(50, 2))
        >>> he_scales(model)
        {'0.weight': 0.1, '2.weight': 0.2}
        >>> f"{translate_lr(model, 1e-3):.4f}"  # 1e-3 / sqrt(0.1 * 0.2)
        '0.0071'

    Args:
        module: plain, equalized or mixed.
        lr: a rate that suits the plain model.
        scales: as in `implicit`: plain qualified names and their c; `he_scales(module)` if left
            out. Biases in it do not count.

    Raises:
        NothingToEqualize: no weight has a scale.
        InvalidArgument: `lr` is not positive and finite, or `scales` does not fit the module.
    """
    refuse_non_module(module)
    rate = positive("lr", lr)
    scales = he_scales(module) if scales is None else scales
    slots = named_slots(module, "scales", scales)
    biases = {(slot.path, bias_of(slot)) for slot in slots.values()}
    logarithms = {}  # by Parameter, so that a tied weight counts once
    for name, scale in scales.items():
        slot = slots[name]
        refuse_computed(slot)
        if (slot.path, slot.name) not in biases:
            logarithms[slot.parameter] = math.log2(positive(f"scales[{name!r}]", scale))
    if not logarithms:
        raise NothingToEqualize(type(module).__name__, 0)
    return rate / math.exp2(statistics.fmean(logarithms.values()))


def scales_by_parameter(
    module: nn.Module, scales: Mapping[str, float] | None
) -> dict[Tensor, float]:
    """c of each plain Parameter that `scales` names, or `he_scales` if it is None.

    Equalized weights are stored ones already and are not in the result; a scale that is given for
    one must be the c in force.
    """
    scales = he_scales(module) if scales is None else scales
    slots = named_slots(module, "scales", scales)
    plain: dict[Tensor, tuple[str, float]] = {}
    for name, number in scales.items():
        slot, c = slots[name], positive(f"scales[{name!r}]", number)
        refuse_computed(slot)
        if slot.scale is None:
            first = plain.setdefault(slot.parameter, (str(slot), c))
            if first[1] != c:
                raise ConflictingTie([first, (str(slot), c)])
        elif slot.scale != c:
            raise InvalidArgument(f"scales[{name!r}]", c, f"the c in force, {slot.scale!r}")
    return {parameter: c for parameter, (_, c) in plain.items()}
