"""Parameter groups by constant: how one group becomes several, and their numbers translated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from equalized_lr.errors import InvalidArgument, NoConstantTranslation
from equalized_lr.optim.constants import constants_of
from equalized_lr.optim.table import (
    Row,
    row_of,
    times_power,
    without_constant_translation,
)

Group = dict[str, Any]


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
        >>> [(group["param_names"], group["scale"], group["lr"]) for group in groups]
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
        under "param_names" and c under "scale"; equalized weights and others have c = 1.

    Raises:
        UnknownOptimizer: the class is not in the table.
        NoConstantTranslation: groups alone are not exact for this class or these numbers.
        InvalidArgument: `scales` does not fit the module.
    """
    row, constants = row_of(optimizer_class), constants_of(module, scales)
    defaults = _defaults(optimizer_class, hyperparameters)
    kept = {*row.powers(defaults), *hyperparameters}
    settings = {key: value for key, value in defaults.items() if key in kept}
    groups = []
    for given in named_groups(module, params):
        for c, piece in split(settings | given, constants):
            reason = without_constant_translation(optimizer_class, defaults | piece)
            if reason and c != 1:
                raise NoConstantTranslation(optimizer_class.__name__, reason)
            numbers = {} if row.by_scale else translated(row, defaults | piece, c, 1)
            own = {key: value for key, value in numbers.items() if key in piece}
            groups.append(piece | own | {"scale": c})
    return groups


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


def split(group: Group, constants: Mapping[Tensor, float]) -> Iterator[tuple[float, Group]]:
    """One group for each distinct c, in the order in which they come."""
    pieces: dict[float, list[int]] = {}
    for index, parameter in enumerate(group["params"]):
        pieces.setdefault(constants.get(parameter, 1.0), []).append(index)
    lists = [key for key in ("params", "param_names") if key in group]
    for c, indices in pieces.items():
        yield c, {**group, **{key: [group[key][i] for i in indices] for key in lists}}


def translated(row: Row, group: Group, c: float, direction: int) -> Group:
    """The numbers of a group whose parameters are multiplied by c (1) or divided by it (-1)."""
    return {
        key: times_power(group[key], c, powers, direction)
        for key, powers in row.powers(group).items()
        if key in group and c != 1
    }
