"""What cannot be equalized, found before anything is touched."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized

from equalized_lr.distributed import is_held_by_fsdp
from equalized_lr.errors import (
    EmptyWeight,
    LazyWeight,
    NameTaken,
    NotAModule,
    OwnedWeight,
    Renormalized,
    ShardedWeight,
    Unscalable,
    UnsupportedWeight,
    WrappedOnTop,
)
from equalized_lr.holders import Slot
from equalized_lr.hook import stored_name
from equalized_lr.memory import unscalable_kind

EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


def refuse_non_module(given: object) -> None:
    """Raises `NotAModule` unless a module was given."""
    if not isinstance(given, nn.Module):
        raise NotAModule(given)


def refuse_owned(slot: Slot) -> None:
    """Raises `OwnedWeight` if another mechanism computes this parameter, or swapped the class."""
    owner = _owner(slot.module, slot.name)
    if owner:
        raise OwnedWeight(str(slot), owner)


def _owner(module: nn.Module, name: str) -> str | None:
    if isinstance(module, torch.jit.ScriptModule):
        return "torch.jit.script"
    if is_parametrized(module):
        on = ", ".join(f"'{key}'" for key in module.parametrizations)  # type: ignore[union-attr]
        return f"torch.nn.utils.parametrize (on {on})"
    if module._parameters.get(name) is not None:
        return None
    for hook in module._forward_pre_hooks.values():
        # spectral_norm's and weight_norm's hooks say `name`, prune's says `_tensor_name`.
        if name in (getattr(hook, "name", None), getattr(hook, "_tensor_name", None)):
            return f"a {type(hook).__name__} hook, which computes it"
    if isinstance(getattr(module, name, None), Tensor):
        return "code of its own, which computes it: it is no Parameter"
    return None


def refuse_sharded(slot: Slot) -> None:
    """Raises `ShardedWeight` if FSDP has bound the parameter's shards to its name."""
    held = slot.module._parameters
    parameter = held.get(slot.name, held.get(stored_name(slot.name)))
    if parameter is not None and is_held_by_fsdp(parameter):
        raise ShardedWeight(str(slot))


def refuse_without_fan(slot: Slot) -> None:
    """Raises if the parameter has no shape yet, or no elements; shards may have none."""
    refuse_sharded(slot)
    parameter = slot.parameter
    if is_lazy(parameter):
        raise LazyWeight(str(slot))
    if parameter.numel() == 0:
        raise EmptyWeight(str(slot), parameter.shape)


def refuse_unstorable(slot: Slot) -> None:
    """Raises if the parameter cannot be renamed and rescaled."""
    module, name, parameter = slot.module, slot.name, slot.parameter
    kind = unscalable_kind(parameter)
    if kind:
        raise UnsupportedWeight(str(slot), kind)
    if getattr(module, "max_norm", None) is not None and isinstance(module, EMBEDDINGS):
        raise Renormalized(str(slot))
    if hasattr(module, stored_name(name)):
        raise NameTaken(str(slot), stored_name(name))


def refuse_stored_elsewhere(module: nn.Module, name: str, where: str | None = None) -> None:
    """Raises `WrappedOnTop` if the stored values are no longer a Parameter of the layer."""
    key = stored_name(name)
    if module._parameters.get(key) is None:
        place = where or f"'{name}' of this {type(module).__name__}"
        raise WrappedOnTop(place, f"another reparametrization of '{key}'")


def refuse_overflow(where: str, value: float, divisor: float, dtype: torch.dtype) -> None:
    """Raises `Unscalable` if the quotient of the largest value is infinite in this dtype."""
    if value / divisor > torch.finfo(dtype).max:
        raise Unscalable(where, divisor, str(dtype))


def largest(tensor: Tensor) -> float:
    """The largest finite absolute value; 0 if there are no values."""
    if tensor.is_meta or tensor.numel() == 0 or isinstance(tensor, FakeTensor):
        return 0.0
    finite = tensor.detach().abs().nan_to_num(nan=0.0, posinf=0.0)
    return float(finite.max())
