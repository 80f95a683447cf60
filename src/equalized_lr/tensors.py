"""Facts about tensors: where they lie, who holds them, whether they are distributed."""

import gc
import math
import sys
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from equalized_lr.errors import Unscalable

T = TypeVar("T")
REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
COMPLEX = (torch.complex64, torch.complex128)


def is_dtensor(tensor: object) -> bool:
    """Whether a tensor is a DTensor, of tensor parallelism or of FSDP2."""
    tensors = sys.modules.get("torch.distributed.tensor")
    return tensors is not None and isinstance(tensor, tensors.DTensor)


def fsdp2_is_in_use() -> bool:
    """Whether `fully_shard` has ever been applied in this process."""
    fsdp = sys.modules.get("torch.distributed.fsdp")
    kind = getattr(fsdp, "FSDPModule", None)  # each sharded class is a subclass of its own
    return kind is not None and bool(kind.__subclasses__())


def is_fsdp1(module: object) -> bool:
    """Whether a module is FSDP1's wrapper, which flattens the Parameters of the one inside."""
    fsdp = sys.modules.get("torch.distributed.fsdp")
    return fsdp is not None and isinstance(module, fsdp.FullyShardedDataParallel)


def is_held_by_fsdp(parameter: Tensor) -> bool:
    """Whether FSDP has bound a parameter's shards to its name, or its view of them."""
    if getattr(parameter, "_fsdp_flattened", False):  # FSDP1
        return True
    # FSDP2's DTensors look like those of tensor parallelism, so their keeper is searched for.
    return (
        is_dtensor(parameter)
        and fsdp2_is_in_use()
        and any(
            type(keeper).__name__ == "FSDPParam" and keeper.sharded_param is parameter
            for keeper in gc.get_objects()
        )
    )


def distribute_like(tensor: Tensor, parameter: Tensor) -> Tensor:
    """The first process's tensor, distributed as a DTensor is."""
    tensors = sys.modules["torch.distributed.tensor"]
    like = cast(Any, parameter)
    return cast(Tensor, tensors.distribute_tensor(tensor, like.device_mesh, like.placements))


def living(kind: type[T]) -> Iterator[T]:
    """All living objects of a class; a search of the heap."""
    objects = gc.get_objects()
    # By type, not by isinstance: that would run the `__class__` of proxies and lazy objects.
    kinds = {one for one in set(map(type, objects)) if issubclass(one, kind)}
    return (one for one in objects if type(one) in kinds)


class Holder(NamedTuple):
    """A module that holds a parameter."""

    parameter: Tensor
    kind: str


def module_holding(parameters: Collection[int], inside: Iterable[nn.Module]) -> Holder | None:
    """A module that holds one of these parameters (by id), other than those inside."""
    if next(_holders(parameters, inside), None) is None:
        return None
    gc.collect()  # it may have been dead already, in a cycle
    return next(_holders(parameters, inside), None)


def _holders(parameters: Collection[int], inside: Iterable[nn.Module]) -> Iterator[Holder]:
    known = set(map(id, inside))
    for module in living(nn.Module):
        if id(module) not in known:
            for parameter in module.__dict__.get("_parameters", {}).values():
                if id(parameter) in parameters:
                    yield Holder(parameter, type(module).__name__)


def unscalable_kind(tensor: Tensor) -> str | None:
    """What keeps a tensor from being multiplied by c, in words; None if nothing does."""
    if tensor.is_quantized:
        return "quantized"
    if tensor.dtype not in REAL + COMPLEX:
        return f"of {tensor.dtype}"
    if tensor.layout is not torch.strided or _is_wrapper(tensor):
        return f"a {type(tensor).__name__} ({tensor.layout})"
    return None


def _is_wrapper(tensor: object) -> bool:
    return is_traceable_wrapper_subclass(tensor) and not is_dtensor(tensor)


def is_expanded(tensor: Tensor) -> bool:
    """Whether several elements lie in one place, so that they cannot be written."""
    return (
        tensor.layout is torch.strided
        and not tensor.is_contiguous()
        and any(step == 0 < n - 1 for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    )


def address(tensor: Tensor) -> int:
    """Where a tensor's memory begins; 0 if it has none."""
    if is_lazy(tensor) or isinstance(tensor, FakeTensor):
        return 0
    if tensor.layout is not torch.strided or not tensor.numel():
        return 0
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):  # tensors of tensors have no storage of their own
        return 0


def start_of(tensor: Tensor) -> int:
    """The address of a tensor's first element; 0 if it has none."""
    if type(tensor) in (Tensor, nn.Parameter):  # the common case, for which forwards wait
        return tensor.data_ptr()
    local = _local(tensor)
    return 0 if isinstance(local, FakeTensor) else local.data_ptr()


def fingerprint(tensor: Tensor) -> tuple[object, ...]:
    """What changes when a tensor's values do, but for writes through `.data`."""
    strides = _local(tensor).stride()
    return tensor._version, start_of(tensor), tensor.dtype, tensor.shape, strides


def other_holders(tensor: Tensor) -> int | None:
    """How many other tensors there are on a tensor's memory; None where torch cannot tell."""
    local = _local(tensor)
    if local.is_meta or type(local) is not Tensor or not local.numel():
        return None
    storage: Any = local.untyped_storage()
    count: int = vars(torch._C)["_storage_Use_Count"](storage._cdata)
    return count - 2  # the tensor itself, and `storage`


def _local(tensor: Tensor) -> Tensor:
    if type(tensor) in (Tensor, nn.Parameter) or not is_dtensor(tensor):
        return tensor
    return cast(Tensor, cast(Any, tensor)._local_tensor)


def same_values(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same in kind and in every element, NaN included."""
    if (one.shape, one.dtype, one.device) != (other.shape, other.dtype, other.device):
        return False
    if one.is_meta:
        return True
    return bool(((one == other) | (one.isnan() & other.isnan())).all())


def has_overflowed(before: Tensor, after: Tensor) -> bool:
    """Whether numbers that were finite are finite no more; False where there are none to see."""
    if after.is_meta or isinstance(after, FakeTensor):
        return False
    if after.layout is not torch.strided or is_dtensor(after):
        return False
    return not torch.equal(after.isfinite(), before.isfinite())


def largest(tensor: Tensor) -> float:
    """The largest finite absolute value; 0 if there are no values."""
    if tensor.is_meta or tensor.numel() == 0 or isinstance(tensor, FakeTensor):
        return 0.0
    values = tensor.detach()
    if values.is_floating_point() and not is_dtensor(values):
        bound = max(abs(float(end)) for end in values.aminmax())  # which copies nothing
        if math.isfinite(bound):
            return bound
    return float(values.abs().nan_to_num(nan=0.0, posinf=0.0).max())


def refuse_overflow(where: object, value: float, divisor: float, dtype: torch.dtype) -> None:
    """Raises `Unscalable` if the quotient of the largest value is infinite in this dtype."""
    if value / divisor > torch.finfo(dtype).max:
        raise Unscalable(where, divisor, str(dtype))


def norm(tensor: Tensor) -> Tensor:
    """The root of the sum of squares, of a DTensor that of the whole tensor."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    # In half precision the sum of squares would overflow.
    length: Any = torch.linalg.vector_norm(tensor.float() if tensor.itemsize < 4 else tensor)
    return cast(Tensor, length.full_tensor() if is_dtensor(length) else length)
