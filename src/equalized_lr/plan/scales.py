"""`he_scales`: the constants of a whole model, by name."""

from __future__ import annotations

from torch import nn

from equalized_lr.layer.hook import plain_names, scales_of
from equalized_lr.plan.checks import refuse_non_module
from equalized_lr.plan.plan import Where, plan_model
from equalized_lr.plan.rule import SQRT2, Gain, LrMul, Rule
from equalized_lr.plan.sharing import Slot


def he_scales(
    module: nn.Module,
    *,
    gain: Gain = SQRT2,
    mode: str = "fan_in",
    lr_mul: LrMul = 1.0,
    where: Where | None = None,
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

    Raises:
        EqualizedLRError: as `equalize_lr`, where a weight has no scale.
    """
    refuse_non_module(module)
    plan = plan_model(module, Rule.checked(gain, mode, lr_mul), where)
    scales = {slot.qualified_name: share.scale for share in plan.shares for slot in share.slots}
    slots = [
        Slot(path, layer, name)
        for path, layer in module.named_modules()
        for name in plain_names(layer)
    ]
    for slot in slots:
        if slot.name in scales_of(slot.module) and (not where or where(slot.path, slot.module)):
            scales[slot.qualified_name] = scales_of(slot.module)[slot.name]
    names = [slot.qualified_name for slot in slots]
    return {name: scales[name] for name in names if name in scales}
