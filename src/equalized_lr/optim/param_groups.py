"""`param_groups`: the groups of a translated optimizer, for those who build it themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from equalized_lr.errors import InvalidArgument, NoConstantTranslation
from equalized_lr.handover.groups import SCALE, Group, split, translated
from equalized_lr.handover.guard import guard_copies
from equalized_lr.handover.powers import powers_of, reason_against_groups
from equalized_lr.optim.scales import scales_by_parameter
from equalized_lr.optim.spread import warn_of_other_spreads


def param_groups(
    optimizer_class: type[Optimizer],
    module: nn.Module,
    *,
    scales: Mapping[str, float] | None = None,
    params: Iterable[Any] | None = None,
    **hyperparameters: Any,
) -> list[Group]:
    """The groups with which an optimizer of plain weights follows the explicit trajectory.

    For those who build the optimizer themselves; `implicit` builds it, and knows some optimizers
    for which groups alone cannot be exact.

    Example:
        >>> net = nn.Sequential(nn.Linear(200, 50), nn.ReLU(), nn.Linear(50, 2))
        >>> groups = param_groups(torch.optim.Adam, net, lr=1e-2)
        >>> [(group["param_names"], group["equalized_scale"], group["lr"]) for group in groups]
        [(['0.weight'], 0.1, 0.001), (['0.bias', '2.bias'], 1.0, 0.01), (['2.weight'], 0.2, 0.002)]
        >>> optimizer = torch.optim.Adam(groups)

    Args:
        optimizer_class: a class of the table in `docs/optimizers.md`.
        module: plain, equalized or mixed.
        scales: plain qualified names and their c, `he_scales(module)` if left out.
        params: as for `optimizer_class`: parameters, named ones, or groups with settings of their
            own; all parameters of the module if left out.
        **hyperparameters: those of the explicit form; what is left out has the class's default,
            which is translated too.

    Returns:
        One group for each distinct c (of each group of `params`), with the names of its parameters
        under "param_names" and c under "equalized_scale"; equalized weights and others have c = 1.

    Raises:
        UnknownOptimizer: the class is not in the table.
        NoConstantTranslation: groups alone are not exact for this class or these numbers.
        InvalidArgument: `scales` does not fit the module.
    """
    powers = powers_of(optimizer_class)
    defaults = _defaults(optimizer_class, hyperparameters)
    kept = {*powers.of_group(defaults), *hyperparameters}
    settings = {key: value for key, value in defaults.items() if key in kept}
    groups = [settings | group for group in named_groups(module, params)]
    by_parameter = scales_by_parameter(module, scales)
    guard_copies()
    warn_of_other_spreads(module, by_parameter)
    return translated_groups(optimizer_class, groups, by_parameter, defaults)


def translated_groups(
    optimizer_class: type[Optimizer],
    groups: Iterable[Group],
    scales: Mapping[Tensor, float],
    defaults: Group,
) -> list[Group]:
    """One group for each distinct c of each group, with its own numbers translated."""
    powers, pieces = powers_of(optimizer_class), []
    for group in groups:
        for c, piece in split(group, scales):
            reason = reason_against_groups(optimizer_class, defaults | piece)
            if reason and c != 1:
                raise NoConstantTranslation(optimizer_class.__name__, reason)
            numbers = {} if powers.by_scale else translated(powers, defaults | piece, c, 1)
            own = {key: value for key, value in numbers.items() if key in piece}
            pieces.append(piece | own | {SCALE: c})
    return pieces


def _defaults(optimizer_class: type[Optimizer], hyperparameters: Mapping[str, Any]) -> Group:
    """What the class makes of these hyper-parameters, which it checks in its own way."""
    made: Any = optimizer_class
    return dict(made([nn.Parameter(torch.zeros(1, 1))], **hyperparameters).defaults)


def named_groups(module: nn.Module, params: Iterable[Any] | None) -> list[Group]:
    """Groups as torch takes them, with a list of parameters and one of names."""
    names: dict[Tensor, str] = {p: name for name, p in module.named_parameters()}
    given: list[Any] = list(names) if params is None else list(params)
    if not given:
        raise InvalidArgument("params", given, "at least one parameter")
    groups = given if isinstance(given[0], dict) else [{"params": given}]
    return [{**group, **_with_names(group["params"], names)} for group in groups]


def _with_names(params: Any, names: Mapping[Tensor, str]) -> Group:
    given = [params] if isinstance(params, Tensor) else list(params)
    pairs = [item if isinstance(item, tuple) else (None, item) for item in given]
    return {
        "params": [parameter for _, parameter in pairs],
        "param_names": [
            names.get(parameter, name or "not in the module") for name, parameter in pairs
        ],
    }
