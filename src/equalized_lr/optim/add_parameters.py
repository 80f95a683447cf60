"""`add_parameters`: parameters that join a translated optimizer while it trains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from equalized_lr.errors import InExplicitRates, InvalidArgument
from equalized_lr.handover.groups import EXPLICIT, SCALE, Group
from equalized_lr.handover.powers import powers_of
from equalized_lr.handover.scaled_steps import stored_steps_of
from equalized_lr.handover.stepping import unwrapped
from equalized_lr.optim.param_groups import named_groups, translated_groups
from equalized_lr.optim.scales import scales_by_parameter


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
    not say their c. Call it when a network grows, when layers are unfrozen, or when a Parameter
    was replaced.

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
        **hyperparameters: of the explicit form; those that are left out have the values that the
            optimizer was made with.

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
    if steps is None and not any(SCALE in group for group in target.param_groups):
        expected = "one of implicit, param_groups or a hand-over, or under ScaledSteps"
        raise InvalidArgument("optimizer", kind, expected)
    by_parameter = scales_by_parameter(module, scales)
    groups = [hyperparameters | group for group in _new_groups(target, module, params)]
    unknown = steps.unknown() if steps else []
    if not groups and not set(unknown) & by_parameter.keys():
        raise InvalidArgument("module", type(module).__name__, "one with parameters that are new")
    if steps is None:
        numbers = powers_of(type(target)).of_group(target.defaults)
        settings = {key: value for key, value in target.defaults.items() if key in numbers}
        groups = [settings | group for group in groups]
        groups = translated_groups(type(target), groups, by_parameter, target.defaults)
    else:
        joined = {p for group in groups for p in group["params"]} | set(unknown)
        own = {p: c for p, c in by_parameter.items() if p in joined}
        steps.refuse(own)
        groups = [group | {SCALE: 1.0} for group in groups]
    for group in groups:
        target.add_param_group(group)
    if steps is not None:
        steps.add(own)


def _new_groups(
    optimizer: Optimizer, module: nn.Module, params: Iterable[Any] | None
) -> list[Group]:
    trained = {p for group in optimizer.param_groups for p in group["params"]}
    has_names = all("param_names" in group for group in optimizer.param_groups)
    groups = []
    for group in named_groups(module, params):
        pairs = zip(group["params"], group["param_names"], strict=True)
        new = [(p, name) for p, name in pairs if p not in trained]
        names = {"param_names": [name for _, name in new]} if has_names else {}
        rest = {key: value for key, value in group.items() if key != "param_names"}
        if new:
            groups.append({**rest, **names, "params": [p for p, _ in new]})
    return groups
