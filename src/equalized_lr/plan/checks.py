"""What cannot be equalized or given back, found before anything is touched."""

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized

from equalized_lr.errors import (
    DistributedWrapper,
    EmptyWeight,
    InvalidArgument,
    LazyWeight,
    NameTaken,
    OffloadedWeight,
    OwnedWeight,
    Renormalized,
    ShardedWeight,
    UnsupportedWeight,
    WrongGenerator,
)
from equalized_lr.layer.hook import stored_name
from equalized_lr.layer.subclass import refuse_wrapped_on_top
from equalized_lr.plan.left_alone import is_look_up
from equalized_lr.plan.slots import Slot
from equalized_lr.tensors import is_held_by_fsdp, largest, refuse_overflow, unscalable_kind

# No draw from N(0, 1) is larger in float64 (Box-Muller with 53 bits ends at 8.6).
LARGEST_NORMAL = 9.0


def refuse_wrapper(root: nn.Module) -> None:
    """Raises `DistributedWrapper` if the tree is wrapped for several processes already."""
    for module in root.modules():
        if isinstance(module, DistributedDataParallel):
            raise DistributedWrapper(type(module).__name__)


def refuse_converted(root: nn.Module) -> None:
    """Raises `UnsupportedWeight` if a converter has left nothing that could be equalized."""
    for path, module in root.named_modules():
        is_script = isinstance(module, torch.jit.ScriptModule)
        if is_script or type(module).__module__.startswith("torch.ao.nn.quantized"):
            where = f"'{path}'" if path else f"this {type(module).__name__}"
            kind = "compiled by torch.jit.script" if is_script else "quantized"
            raise UnsupportedWeight(where, kind)


def refuse_owned(slot: Slot) -> None:
    """Raises `OwnedWeight` if another mechanism computes this parameter, or swapped the class."""
    refuse_converted(slot.module)
    owner = _owner(slot)
    if owner:
        raise OwnedWeight(str(slot), owner)


def refuse_computed(slot: Slot) -> None:
    """Raises `OwnedWeight` if no Parameter stands behind this weight."""
    if slot.scale is None and slot.module._parameters.get(slot.name) is None:
        refuse_owned(slot)


def _owner(slot: Slot) -> str | None:
    module, name = slot.module, slot.name
    if "parametrizations" in module._modules and is_parametrized(module):
        on = ", ".join(f"'{key}'" for key in module.parametrizations)  # type: ignore[union-attr]
        return f"torch.nn.utils.parametrize (on {on})"
    if module._parameters.get(name) is not None:
        return None
    for hook in module._forward_pre_hooks.values():
        # spectral_norm's and weight_norm's hooks say `name`, prune's says `_tensor_name`.
        if name in (getattr(hook, "name", None), getattr(hook, "_tensor_name", None)):
            return f"a {type(hook).__name__} hook, which computes it"
    return "code of its own, which computes it: it is no Parameter"


def refuse_empty(slot: Slot) -> None:
    """Raises if the parameter has no shape yet, or no elements; shards may have none."""
    parameter = slot.parameter
    if is_lazy(parameter):
        raise LazyWeight(str(slot))
    if parameter.numel() == 0 and not is_held_by_fsdp(parameter):
        raise EmptyWeight(str(slot), tuple(parameter.shape))


def refuse_attachment(slot: Slot) -> None:
    """Raises if the parameter cannot be renamed and rescaled."""
    refuse_unscalable(slot)
    if is_look_up(slot.module) and slot.module.max_norm is not None:
        raise Renormalized(str(slot))
    if hasattr(slot.module, stored_name(slot.name)):
        raise NameTaken(str(slot), stored_name(slot.name))


def refuse_detachment(slot: Slot) -> None:
    """Raises if the equalized parameter cannot be given back."""
    tensor = slot.parameter
    if is_held_by_fsdp(tensor):
        raise ShardedWeight(str(slot))
    refuse_wrapped_on_top(slot.module, slot.name, str(slot))
    _refuse_offloaded(slot, tensor)


def refuse_unscalable(slot: Slot) -> None:
    """Raises if the parameter cannot be multiplied by c."""
    tensor = slot.parameter
    if is_held_by_fsdp(tensor):
        raise ShardedWeight(str(slot))
    _refuse_offloaded(slot, tensor)
    kind = unscalable_kind(tensor)
    if kind:
        raise UnsupportedWeight(str(slot), kind)


def _refuse_offloaded(slot: Slot, tensor: Tensor) -> None:
    if tensor.is_meta and hasattr(slot.module, "_hf_hook"):
        raise OffloadedWeight(str(slot))


def refuse_init(init: str) -> None:
    """Raises `InvalidArgument` unless the initialization is one that there is."""
    if init not in ("normal", "keep"):
        raise InvalidArgument("init", init, "'normal' or 'keep'")


def refuse_draw(slot: Slot, lr_mul: float, generator: torch.Generator | None) -> None:
    """Raises if the parameter cannot be drawn from N(0, 1 / lr_mul**2)."""
    tensor = slot.parameter
    refuse_overflow(slot, LARGEST_NORMAL, lr_mul, tensor.dtype)
    if generator is not None and generator.device.type != tensor.device.type:
        raise WrongGenerator(str(slot), tensor.device.type, generator.device.type)


def refuse_division(slot: Slot, scale: float) -> None:
    """Raises `Unscalable` if the parameter divided by c does not fit into its dtype."""
    tensor: Tensor = slot.parameter
    refuse_overflow(slot, largest(tensor), scale, tensor.dtype)
