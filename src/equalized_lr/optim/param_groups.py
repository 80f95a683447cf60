"""`param_groups`: the groups of a translated optimizer, for those who build it themselves."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from equalized_lr.errors import InvalidArgument, NoConstantTranslation
from equalized_lr.handover.groups import Group, is_rescaled, translated_pieces
from equalized_lr.handover.guard import guard_copies
from equalized_lr.handover.powers import has_no_powers, powers_of
from equalized_lr.optim.spread import warn_of_other_spreads
from equalized_lr.plan.scales import scales_by_parameter


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
        **hyperparameters: those of the explicit form, of which defaults are translated, too.

    Returns:
        One group for each distinct c (of each group of `params`), with the names of its parameters
        under "param_names" and c under "equalized_scale"; equalized weights and others have c = 1.

    Raises:
        UnknownOptimizer: the class is not in the table.
        NoConstantTranslation: groups alone are not exact for this class or these numbers.
        InvalidArgument: `scales` does not fit the module.
    """
    powers = powers_of(optimizer_class).at_start()
    construct: Any = optimizer_class  # it checks the numbers in its own way
    defaults: Group = construct([nn.Parameter(torch.zeros(1, 1))], **hyperparameters).defaults
    keys = {*powers.of_group(defaults), "decoupled_weight_decay", *hyperparameters}
    settings = {key: value for key, value in defaults.items() if key in keys}
    by_parameter = scales_by_parameter(module, scales)
    groups: list[Group] = []
    for group in named_groups(module, params):
        refuse_inexact(optimizer_class, defaults | group, by_parameter)
        groups += translated_pieces(powers, settings | group, by_parameter, 1)
    guard_copies()
    warn_of_other_spreads(module, by_parameter)
    return groups


def refuse_inexact(
    optimizer_class: type[Optimizer], group: Group, scales: Mapping[Tensor, float]
) -> None:
    """Raises `NoConstantTranslation` where a translated group alone would not be exact."""
    reason = has_no_powers(optimizer_class, group)
    if optimizer_class is torch.optim.Adagrad and group["initial_accumulator_value"]:
        reason = "torch fills the accumulators from the class's argument, not from the group"
    if reason and is_rescaled(group, scales):
        raise NoConstantTranslation(optimizer_class.__name__, reason)


def named_groups(
    module: nn.Module, params: Iterable[Any] | None, trained: Container[Tensor] = ()
) -> list[Group]:
    """Groups as torch takes them, with names, of those parameters that are not trained yet."""
    names: dict[Tensor, str] = {p: name for name, p in module.named_parameters()}
    items: list[Any] = list(names) if params is None else list(params)
    if not items:
        raise InvalidArgument("params", items, "at least one parameter")
    groups = items if isinstance(items[0], dict) else [{"params": items}]
    named = []
    for group in groups:
        items = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        pairs = [item if isinstance(item, tuple) else ("not in the module", item) for item in items]
        pairs = [(names.get(p, name), p) for name, p in pairs if p not in trained]
        lists = {"params": [p for _, p in pairs], "param_names": [name for name, _ in pairs]}
        named.append({**group, **lists})
    return named
