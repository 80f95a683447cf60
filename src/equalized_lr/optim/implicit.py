"""The implicit form: plain weights, trained as the explicit form would train them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

import torch
from torch import nn
from torch.optim import Optimizer

from equalized_lr.equalize import draw
from equalized_lr.handover.groups import SCALE
from equalized_lr.handover.handover import Handover
from equalized_lr.handover.powers import powers_of
from equalized_lr.optim.param_groups import named_groups, param_groups
from equalized_lr.optim.scales import scales_by_parameter
from equalized_lr.plan.checks import refuse_draw, refuse_unscalable
from equalized_lr.plan.plan import Where, plan_equalizing
from equalized_lr.plan.rule import SQRT2, Gain, LrMul, Mode, Rule
from equalized_lr.plan.sharing import refuse_unwritable
from equalized_lr.plan.slots import Fans

M = TypeVar("M", bound=nn.Module)
Kind = TypeVar("Kind", bound=Optimizer)


def implicit(
    optimizer_class: type[Kind],
    module: nn.Module,
    *,
    scales: Mapping[str, float] | None = None,
    params: Iterable[Any] | None = None,
    **hyperparameters: Any,
) -> Kind:
    """An optimizer of plain weights that goes the way of the explicit form, at no cost.

    It is an ordinary `optimizer_class`. Its hyper-parameters are those that you would give it in
    the explicit form, defaults included; each group has them translated for its c, so that
    ŵ = c w holds after every step (`docs/optimizers.md` has the table and the errors measured).

    Example:
        >>> net = init_(nn.Sequential(nn.Linear(200, 50), nn.ReLU(), nn.Linear(50, 2)))
        >>> optimizer = implicit(torch.optim.Adam, net, lr=1e-2)
        >>> [(group["equalized_scale"], group["lr"]) for group in optimizer.param_groups]
        [(0.1, 0.001), (1.0, 0.01), (0.2, 0.002)]

    Where no constant translation exists, the exact thing is done all the same: Adagrad's
    initial accumulators are written, and RAdam and Adafactor with eps[0] > 0 run under
    `ScaledSteps`.

    Args:
        optimizer_class: a class of the table, or `LREQAdam`.
        module: plain, equalized or mixed; of equalized weights the stored ones are trained, with
            the values as given.
        scales: plain qualified names and their c, `he_scales(module)` if left out.
        params: as for `optimizer_class`, all parameters of the module if left out.
        **hyperparameters: those of the explicit form.

    Returns:
        The optimizer, with one group for each distinct c, its names and its c in it.

    Raises:
        UnknownOptimizer: the class is not in the table.
        InvalidArgument: `scales` does not fit the module.
    """
    by_parameter = scales_by_parameter(module, scales)
    construct: Any = optimizer_class
    if powers_of(optimizer_class).by_scale:
        own = {"scales": scales, "params": params, **hyperparameters}
        return cast(
            Kind, construct(param_groups(optimizer_class, module, **own), **hyperparameters)
        )
    optimizer: Kind = construct(named_groups(module, params), **hyperparameters)
    for group in optimizer.param_groups:
        group.setdefault(SCALE, 1.0)
    trained = {p for group in optimizer.param_groups for p in group["params"]}
    Handover(optimizer, {p: c for p, c in by_parameter.items() if p in trained}, 1).apply()
    return optimizer


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
) -> M:
    """Draws plain weights as the explicit form does: ŵ ~ N(0, (c / lr_mul)**2), biases zero.

    From the same random numbers these are the very weights that `equalize_lr` would compute with.

    Example:
        >>> layer = init_(nn.Linear(200, 1000))
        >>> abs(layer.weight.std().item() - 0.1) < 0.001
        True

    Args:
        module: as in `equalize_lr`, and so are the other arguments. Equalized layers are left
            alone. It is changed in place and returned.
        gain: as in `equalize_lr`.
        mode: as in `equalize_lr`.
        lr_mul: as in `equalize_lr`.
        where: as in `equalize_lr`.
        fans: as in `equalize_lr`.
        generator: as in `equalize_lr`.

    Raises:
        EqualizedLRError: as `equalize_lr`.
    """
    plan = plan_equalizing(module, None, Rule.checked(gain, mode, lr_mul), where, fans)
    for share in plan.shares:
        refuse_unscalable(share.slots[0])
        refuse_draw(share.slots[0], share.lr_mul, generator)
    refuse_unwritable(module, [share.slots[0] for share in plan.shares] + plan.plain_biases)
    draw(plan, generator)
    for share in plan.weights:
        share.parameter.mul_(share.scale)
    return module
