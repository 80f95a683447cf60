"""What an optimizer has kept that depends on the values which its parameters had."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from equalized_lr.errors import KeepsValues, Unscalable

# What an optimizer has besides its own attributes; its state is looked at by parameter.
_NOT_OWN = ("state", "param_groups", "defaults")


def refuse_kept_values(optimizer: Optimizer, parameters: Collection[Tensor]) -> None:
    """Raises `KeepsValues` if an optimizer has computed something from values of its parameters.

    Numbers that are the same for all elements, such as zeros and the initial accumulators of
    Adagrad, do not depend on them, unless they are a copy of the parameter itself.
    """
    for key, tensor, owners in _kept(optimizer, parameters):
        if not tensor.is_meta and _varies(tensor, owners):
            raise KeepsValues(type(optimizer).__name__, key)


def refuse_unstorable(parameter: Tensor, c: float) -> None:
    """Raises `Unscalable` if a parameter divided by c does not fit into its dtype."""
    if parameter.is_meta or c >= 1 or not parameter.numel():
        return
    if float(parameter.detach().abs().max()) / c > torch.finfo(parameter.dtype).max:
        where = f"a parameter of shape {tuple(parameter.shape)}"
        raise Unscalable(where, c, str(parameter.dtype))


def _kept(
    optimizer: Optimizer, parameters: Collection[Tensor]
) -> Iterator[tuple[str, Tensor, list[Tensor]]]:
    """All tensors in the state and the attributes, and the parameters that may be their origin."""
    state = getattr(optimizer, "state", {})
    for parameter in parameters:
        for key, value in state.get(parameter, {}).items():
            yield from ((key, tensor, [parameter]) for tensor in _tensors(value))
    for key, value in vars(optimizer).items():
        if key in _NOT_OWN or "hooks" in key:
            continue
        for tensor in _tensors(value):
            alike = [p for p in parameters if p.shape == tensor.shape]
            if alike and not isinstance(tensor, torch.nn.Parameter):
                yield key, tensor, alike


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from (tensor for item in value.values() for tensor in _tensors(item))
    elif isinstance(value, list | tuple | deque):
        yield from (tensor for item in value for tensor in _tensors(item))


def _varies(tensor: Tensor, owners: list[Tensor]) -> bool:
    if not tensor.numel() or not bool((tensor != 0).any()):
        return False
    if any(p.shape == tensor.shape and torch.equal(p, tensor.to(p)) for p in owners):
        return True
    return bool((tensor != tensor.reshape(-1)[0]).any())
