"""`observe`: the fan of every parameter, read from the operation that consumes it."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Generator, Mapping
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_map_only

from equalized_lr.arguments import refuse_non_module
from equalized_lr.errors import AlreadyScaled, UnclearFan
from equalized_lr.plan.fan import Fan
from equalized_lr.plan.slots import Slot, slots_of
from equalized_lr.plan.snapshot import restoration
from equalized_lr.plan.tracing import Tracer, Use


def observe(module: nn.Module, *args: Any, **kwargs: Any) -> dict[str, Fan]:
    """Reads the fan of every parameter from one forward.

    He's rule counts the connections into one response. That number belongs to the operation that
    consumes a weight, not to the class that holds it: it is the length of the contraction. So the
    module runs once on example inputs (two or more samples; the values do not matter), and each
    matrix product and convolution says which parameter it took for a weight, through views, casts,
    normalization, modulation, and whatever else lies between.

    What nothing contracts is not in the result: biases, gains, look-ups, tables that are added,
    rates of decay. Layers that the function `fans` knows have its numbers where the operation shows
    the same fan_in, or nothing, as the kernels of LSTM do. A parameter whose uses have different
    numbers of connections is left out with a warning that names them.

    The module stays as it is: parameters, buffers, attributes, gradients and random state, also
    after an exception. It runs in the mode that it is in, with gradients enabled.

    Example:
        >>> class Experts(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.kernels = nn.Parameter(torch.randn(4, 8, 16))  # expert, in, out
        ...     def forward(self, x):
        ...         return torch.einsum("nei,eio->neo", x, self.kernels)
        >>> observe(Experts(), torch.randn(2, 4, 8))
        {'kernels': Fan(fan_in=8, fan_out=16, bias=None)}

    Args:
        module: plain, equalized or mixed.
        *args: what its forward takes.
        **kwargs: what its forward takes by name.

    Returns:
        For each parameter that is contracted, by its plain qualified name, its fan. Tied
        parameters have it under each of their names.

    Raises:
        AlreadyScaled: the module multiplies a parameter by a constant itself.
        NotAModule: the first argument is no module.
        Exception: whatever the forward raises.
    """
    refuse_non_module(module)
    args, kwargs = tree_map_only(Tensor, cache(_normal), (args, kwargs))
    if any(is_lazy(parameter) for parameter in module.parameters()):
        module = copy.deepcopy(module)  # which gets its shapes now, and its fans then
        with restoration(nn.Identity(), (args, kwargs)) as snapshot:
            _run(module, args, kwargs, Tracer(snapshot, ()))
    with restoration(module, (args, kwargs)) as snapshot:
        sites = [slot for slot in slots_of(module, every_path=True) if slot.find() is not None]
        tracer = Tracer(snapshot, (args, kwargs))
        for each in sites:
            tracer.follow(each.parameter, each.fan)
        _run(module, args, kwargs, tracer)
    return _resolve(sites, tracer)


def _normal(tensor: Tensor) -> Tensor:
    """The tensor, or a copy that autograd takes in place of one made under inference mode."""
    with torch.inference_mode(False):
        return tensor.clone() if tensor.is_inference() else tensor


def _run(module: nn.Module, args: Any, kwargs: Any, tracer: Tracer) -> None:
    """Runs a module so that torch shows its operations, neither compiled nor fused."""
    grad = not any(each.is_inference() for each in module.parameters() if not is_lazy(each))
    eager = cast(Any, torch.compiler.set_stance)("force_eager")
    with torch.inference_mode(False), torch.set_grad_enabled(grad), eager, tracer:
        output = module(*args, **kwargs)
        if isinstance(output, Generator):
            for _ in output:  # it has not run yet
                pass


def _resolve(sites: list[Slot], tracer: Tracer) -> dict[str, Fan]:
    firsts: dict[int, Slot] = {}
    for each in sites:
        firsts.setdefault(id(each.parameter), each)
    tables = {id(each.parameter): each.fan for each in sites if each.fan}
    uses = {key: _foremost(tracer.uses[key]) for key in firsts if key in tracer.uses}
    _refuse_scaled([(firsts[key], use) for key in uses for use in uses[key]])
    result = {key: _agreed(uses[key], tables.get(key)) for key in uses}
    for key, each in firsts.items():
        doubt = "" if result.get(key) else _doubt(uses.get(key), tracer, key, firsts)
        if doubt and each.parameter.dim() > 1:
            warnings.warn(UnclearFan(str(each), doubt), stacklevel=3)
    fans_by_name = {each.qualified_name: result.get(id(each.parameter)) for each in sites}
    return {name: fan for name, fan in fans_by_name.items() if fan}


def _foremost(uses: Mapping[Use, None]) -> list[Use]:
    """The uses that count: spectral norm's power iteration does not, beside the layer's forward."""
    best = max(use.rank for use in uses)
    return [use for use in uses if use.rank == best]


def _agreed(uses: list[Use], table: Fan | None) -> Fan | None:
    """The one fan of all uses; of several fan_out, as those of a weight in parts, the largest."""
    if len({use.fan.fan_in for use in uses}) > 1:
        return None
    if table and table.fan_in == uses[0].fan.fan_in:
        return table
    return max(use.fan for use in uses)


def _refuse_scaled(uses: list[tuple[Slot, Use]]) -> None:
    scaled = {}
    for each, use in uses:
        own = each.scale or 1.0
        if not any(math.isclose(use.constant, known, rel_tol=1e-5) for known in (1.0, own)):
            scaled[str(each)] = use.constant / own
    if scaled:
        where, constant = next(iter(scaled.items()))
        raise AlreadyScaled(where, constant, len(scaled) - 1)


def _doubt(uses: list[Use] | None, tracer: Tracer, key: int, firsts: Mapping[int, Slot]) -> str:
    """Why there is no fan; nothing, if nothing consumes the parameter."""
    if uses:
        lengths = {f"{use.operation} over {use.fan.fan_in:g} connections" for use in uses}
        return " and ".join(sorted(lengths))
    if key in tracer.partners:
        partners = sorted(str(firsts[each]) for each in tracer.partners[key])
        return f"it is multiplied with {', '.join(partners)}, and either may be the weight"
    if key in tracer.opaque:
        return f"'{tracer.opaque[key]}' takes it, which does not show what it contracts"
    return ""
