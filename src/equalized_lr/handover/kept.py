"""What an optimizer has kept that depends on the values which its parameters had."""

from collections import deque
from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from equalized_lr.errors import KeepsValues


def refuse_kept_values(optimizer: Optimizer, parameters: Collection[Tensor]) -> None:
    """Raises `KeepsValues` if an optimizer has computed something from values of its parameters.

    Numbers that are the same for all elements, such as zeros and the initial accumulators of
    Adagrad, do not depend on them, unless they are a copy of the parameter itself.
    """
    state = getattr(optimizer, "state", {})
    for parameter in parameters:
        for key, value in state.get(parameter, {}).items():
            if any(_varies(tensor, [parameter]) for tensor in _tensors_in(value)):
                raise KeepsValues(type(optimizer).__name__, key)
    for key, value in vars(optimizer).items():
        if key in ("state", "param_groups", "defaults") or "hooks" in key:
            continue
        for tensor in _tensors_in(value):
            alike = [p for p in parameters if p.shape == tensor.shape]
            if alike and not isinstance(tensor, torch.nn.Parameter) and _varies(tensor, alike):
                raise KeepsValues(type(optimizer).__name__, key)


def _tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple | deque):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors_in(item)


def _varies(tensor: Tensor, owners: list[Tensor]) -> bool:
    if tensor.is_meta or not tensor.any():
        return False
    if any(p.shape == tensor.shape and torch.equal(p, tensor.to(p)) for p in owners):
        return True
    return bool((tensor != tensor.reshape(-1)[0]).any())
