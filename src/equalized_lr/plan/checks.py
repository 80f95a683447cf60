"""What cannot be equalized, found before anything is touched."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized

from equalized_lr.errors import (
    EmptyWeight,
    LazyWeight,
    NameTaken,
    NotAModule,
    OffloadedWeight,
    OwnedWeight,
    Renormalized,
    ShardedWeight,
    Unscalable,
    UnsupportedWeight,
    WrappedOnTop,
)
from equalized_lr.layer.hook import stored_name
from equalized_lr.plan.memory import unscalable_kind
from equalized_lr.plan.sharing import Slot
from equalized_lr.tensors import is_fsdp1, is_held_by_fsdp

EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


def refuse_non_module(given: object) -> None:
    """Raises `NotAModule` unless a module was given."""
    if not isinstance(given, nn.Module):
        raise NotAModule(type(given).__name__)


def refuse_owned(slot: Slot) -> None:
    """Raises `OwnedWeight` if another mechanism computes this parameter, or swapped the class."""
    owner = _owner(slot.module, slot.name)
    if owner:
        raise OwnedWeight(str(slot), owner)


def _owner(module: nn.Module, name: str) -> str | None:
    if isinstance(module, torch.jit.ScriptModule):
        return "torch.jit.script"
    if "parametrizations" in module._modules and is_parametrized(module):
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


def refuse_offloaded(slot: Slot) -> None:
    """Raises `OffloadedWeight` if accelerate keeps the parameter's values, by its name."""
    if slot.parameter.is_meta and hasattr(slot.module, "_hf_hook"):
        raise OffloadedWeight(str(slot))


def refuse_flattened(root: nn.Module) -> None:
    """Raises `ShardedWeight` if the tree holds FSDP1's wrapper, which saves by stored names."""
    for path, module in root.named_modules():
        if is_fsdp1(module):
            raise ShardedWeight(f"what is in '{path}'" if path else "this FSDP model")


def refuse_without_fan(slot: Slot) -> None:
    """Raises if the parameter has no shape yet, or no elements; shards may have none."""
    parameter = slot.parameter
    if is_lazy(parameter):
        raise LazyWeight(str(slot))
    if parameter.numel() == 0 and not is_held_by_fsdp(parameter):
        raise EmptyWeight(str(slot), tuple(parameter.shape))


def refuse_unstorable(slot: Slot) -> None:
    """Raises if the parameter cannot be renamed and rescaled."""
    refuse_unscalable(slot)
    module = slot.module
    if isinstance(module, EMBEDDINGS) and module.max_norm is not None:
        raise Renormalized(str(slot))
    if hasattr(module, stored_name(slot.name)):
        raise NameTaken(str(slot), stored_name(slot.name))


def refuse_unscalable(slot: Slot) -> None:
    """Raises if the parameter cannot be multiplied by c."""
    refuse_sharded(slot)
    refuse_offloaded(slot)
    kind = unscalable_kind(slot.parameter)
    if kind:
        raise UnsupportedWeight(str(slot), kind)


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
