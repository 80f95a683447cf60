"""`he_scales`: the constants of a whole model, by name."""

from __future__ import annotations

from torch import nn

from equalized_lr.arguments import refuse_non_module
from equalized_lr.plan.plan import Where, plan_model
from equalized_lr.plan.rule import SQRT2, Gain, LrMul, Mode, Rule
from equalized_lr.plan.slots import Fans, slots_of


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
