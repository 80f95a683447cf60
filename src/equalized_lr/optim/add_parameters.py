"""`add_parameters`: parameters that join a translated optimizer while it trains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from equalized_lr.errors import InExplicitRates, InvalidArgument
from equalized_lr.handover.groups import EXPLICIT, SCALE, Group, parameters_of
from equalized_lr.handover.handover import translate
from equalized_lr.handover.powers import powers_of
from equalized_lr.handover.scaled_steps import stored_steps_of
from equalized_lr.handover.stepping import unwrapped
from equalized_lr.optim.param_groups import named_groups, refuse_inexact
from equalized_lr.plan.scales import scales_by_parameter


def add_parameters(
    optimizer: Optimizer,
    module: nn.Module,
    *,
    scales: Mapping[str, float] | None = None,
    params: Iterable[Any] | None = None,
    **hyperparameters: Any,
) -> None:
    """Lets an optimizer train those parameters of a module that it does not train yet.

    As `add_param_group`, for optimizers that are translated: of `implicit`, of `param_groups`,
    after a hand-over, and under `ScaledSteps`. Their own `add_param_group` refuses groups that do
    not say their c. Call it when a network grows, layers are unfrozen, or a Parameter was replaced.

    Example:
        >>> net = init_(nn.Sequential(nn.Linear(8, 8), nn.ReLU()))
        >>> optimizer = implicit(torch.optim.Adam, net, lr=1e-2)
        >>> net.append(init_(nn.Linear(8, 2)))[-1]
        Linear(in_features=8, out_features=2, bias=True)
        >>> add_parameters(optimizer, net)
        >>> [(group["param_names"], group["lr"]) for group in optimizer.param_groups[2:]]
        [(['2.weight'], 0.005), (['2.bias'], 0.01)]

    Args:
        optimizer: it is changed in place.
        module: plain, equalized or mixed; it may hold parameters that are trained already.
        scales: as in `implicit`.
        params: as in `implicit`; those that are trained already are passed over.
        **hyperparameters: of the explicit form; others are those that the optimizer was made with.

    Raises:
        InvalidArgument: the optimizer is not translated, it trains all these parameters already,
            or `scales` does not fit the module.
        InExplicitRates: it is called within `explicit_rates`.
        EqualizedLRError: another subclass, as from `implicit` or `ScaledSteps`.
    """
    steps = stored_steps_of(optimizer)
    target, kind = steps.optimizer if steps else unwrapped(optimizer), type(optimizer).__name__
    if EXPLICIT in vars(target):
        raise InExplicitRates(kind)
    if not any(SCALE in group for group in target.param_groups):
        expected = "one of implicit, param_groups or a hand-over, or under ScaledSteps"
        raise InvalidArgument("optimizer", kind, expected)
    by_parameter = scales_by_parameter(module, scales)
    groups = named_groups(module, params, set(parameters_of(target)))
    groups = [hyperparameters | group for group in groups if group["params"]]
    unknown = set(steps.unknown()).intersection(module.parameters()) if steps else set()
    new = unknown.union(*(group["params"] for group in groups))
    if not new:
        raise InvalidArgument("module", type(module).__name__, "one with parameters that are new")
    own = {p: c for p, c in by_parameter.items() if p in new}
    if steps:
        steps.refuse(own)
        _add(target, groups)
        steps.add(own)
    else:
        for group in groups:
            refuse_inexact(type(target), target.defaults | group, own)
        _add(target, groups)
        translate(target, powers_of(type(target)).at_start(), own, 1)


def _add(optimizer: Optimizer, groups: list[Group]) -> None:
    has_names = all("param_names" in group for group in optimizer.param_groups)
    before = len(optimizer.param_groups)
    try:
        for group in groups:
            if not has_names:
                del group["param_names"]
            optimizer.add_param_group({**group, SCALE: 1.0})
    except BaseException:
        del optimizer.param_groups[before:]  # which are not translated yet
        raise
