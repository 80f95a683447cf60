"""`init_`: plain weights as the explicit form draws them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import torch
from torch import nn

from equalized_lr.equalize import draw
from equalized_lr.errors import NothingToEqualize, UnknownFan
from equalized_lr.optim.spread import drawn_scales
from equalized_lr.plan.checks import refuse_draw, refuse_unscalable
from equalized_lr.plan.plan import Plan, Where, plan_equalizing, plan_model
from equalized_lr.plan.rule import SQRT2, Gain, LrMul, Mode, Rule
from equalized_lr.plan.scales import scales_by_parameter
from equalized_lr.plan.sharing import Share, merge, refuse_unwritable
from equalized_lr.plan.slots import Fans, Slot, slots_of

M = TypeVar("M", bound=nn.Module)


@torch.no_grad()
def init_(
    module: M,
    *,
    gain: Gain = SQRT2,
    mode: Mode = "fan_in",
    lr_mul: LrMul = 1.0,
    where: Where | None = None,
    fans: Fans | None = None,
    generator: torch.Generator | None = None,
    scales: Mapping[str, float] | None = None,
) -> M:
    """Draws plain weights as the explicit form does: ŵ ~ N(0, (c / lr_mul)**2), biases zero.

    From the same random numbers these are the very weights that `equalize_lr` would compute with.

    An exception, such as the gain 1 of a last layer, must be said to `implicit` as well: give both
    the same `scales`. `implicit` warns of a weight that was drawn with another c.

    Example:
        >>> layer = init_(nn.Linear(200, 1000))
        >>> abs(layer.weight.std().item() - 0.1) < 0.001
        True
        >>> net = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 1))
        >>> scales = he_scales(net) | he_scales(nn.ModuleDict({"2": net[2]}), gain=1.0)
        >>> optimizer = implicit(torch.optim.Adam, init_(net, scales=scales), scales=scales)

    Args:
        module: its equalized layers are left alone. It is changed in place and returned.
        gain: as in `equalize_lr`.
        mode: as in `equalize_lr`.
        lr_mul: as in `equalize_lr`.
        where: as in `equalize_lr`.
        fans: as in `equalize_lr`.
        generator: as in `equalize_lr`.
        scales: plain qualified names and their c, as for `implicit`, in place of gain and mode:
            the weights that are named are drawn, others are left alone.

    Raises:
        InvalidArgument: `scales` does not fit the module.
        EqualizedLRError: another subclass, as from `equalize_lr`.
    """
    rule = Rule.checked(gain, mode, lr_mul)
    if scales is None:
        plan = plan_equalizing(module, None, rule, where, fans)
    else:
        plan = _plan_by_scales(module, rule, where, fans or {}, scales)
    for share in plan.shares:
        refuse_unscalable(share.slots[0])
        refuse_draw(share.slots[0], share.lr_mul, generator)
    refuse_unwritable(module, [share.slots[0] for share in plan.shares] + plan.plain_biases)
    draw(plan, generator)
    for share in plan.weights:
        share.parameter.mul_(share.scale)
        drawn_scales[share.parameter] = share.scale
    return module


def _plan_by_scales(
    module: nn.Module, rule: Rule, where: Where | None, fans: Fans, names: Mapping[str, float]
) -> Plan:
    """The plan for those weights that have a scale, also ones that `fans` does not know."""
    plan, scales = plan_model(module, rule, where, fans), scales_by_parameter(module, names)
    weights = [share for share in plan.weights if share.parameter in scales]
    weights = [replace(share, scale=scales[share.parameter]) for share in weights]
    layers = {slot.path for share in weights for slot in share.slots}
    biases = [share for share in plan.biases if share.slots[0].path in layers]
    known = {share.parameter for share in plan.shares}
    weights += merge(
        Share(scales[slot.parameter], [slot], _multiplier(rule, slot))
        for slot in slots_of(module)
        if slot.find() in scales and slot.parameter not in known and slot.parameter.ndim > 1
        if where is None or where(slot.path, slot.module)
    )
    if not weights:
        raise NothingToEqualize(type(module).__name__, 0)
    return Plan(weights, biases, [slot for slot in plan.plain_biases if slot.path in layers])


def _multiplier(rule: Rule, slot: Slot) -> float:
    if slot.fan:
        return rule.multiplier(slot.fan)
    if callable(rule.lr_mul):
        raise UnknownFan(slot.name, type(slot.module).__name__)
    return rule.lr_mul
