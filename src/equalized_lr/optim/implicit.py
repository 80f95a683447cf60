"""The implicit form: plain weights, trained as the explicit form would train them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from torch import nn
from torch.optim import Optimizer

from equalized_lr.handover.guard import guard
from equalized_lr.handover.handover import runs_stored, translate
from equalized_lr.handover.powers import powers_of
from equalized_lr.handover.scaled_steps import StoredSteps
from equalized_lr.optim.param_groups import named_groups
from equalized_lr.optim.spread import warn_of_other_spreads
from equalized_lr.plan.scales import scales_by_parameter

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

    Where no constant translation exists, the exact thing is done all the same: Adagrad's initial
    accumulators are written, and RAdam and Adafactor with eps[0] > 0 run under `ScaledSteps`.

    Args:
        optimizer_class: a class of the table, or `LREQAdam`.
        module: plain, equalized or mixed; stored weights are trained with the values as given.
        scales: plain qualified names and their c, `he_scales(module)` if left out, with the gain
            sqrt(2) for every layer. Where `init_` had another one, give both the same `scales`.
        params: as for `optimizer_class`, all parameters of the module if left out.
        **hyperparameters: those of the explicit form.

    Returns:
        The optimizer, with one group for each distinct c, its names and its c in it.

    Raises:
        UnknownOptimizer: the class is not in the table.
        InvalidArgument: `scales` does not fit the module.
        Unscalable: it runs under `ScaledSteps`, and a stored weight does not fit into its dtype.
        UnknownScale: later, from `add_param_group`; see `add_parameters`.
        OtherForm: later, from `load_state_dict` with a state of the explicit form.

    Warns:
        OtherSpread: `init_` has drawn a weight with another c, or its size is three times off.
    """
    powers = powers_of(optimizer_class)
    by_parameter = scales_by_parameter(module, scales)
    warn_of_other_spreads(module, by_parameter)
    construct: Any = optimizer_class
    optimizer: Kind = construct(named_groups(module, params), **hyperparameters)
    if runs_stored(optimizer, by_parameter):
        StoredSteps(optimizer, by_parameter)
    else:
        translate(optimizer, powers.at_start(), by_parameter, 1)
    guard(optimizer)
    return optimizer
