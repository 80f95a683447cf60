"""Whether Parameters can be rescaled where they lie, without changing anything else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from equalized_lr.errors import SharedMemory, UnsupportedWeight
from equalized_lr.plan.sharing import Slot
from equalized_lr.tensors import is_dtensor

SCALABLE = frozenset(
    {
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
        torch.complex64,
        torch.complex128,
    }
)


def unscalable_kind(tensor: Tensor) -> str | None:
    """What keeps a tensor from being multiplied by c, in words; None if nothing does."""
    if tensor.is_quantized:
        return "quantized"
    if tensor.dtype not in SCALABLE:
        return f"of {tensor.dtype}"
    if tensor.layout is not torch.strided or _is_wrapper(tensor):
        return f"a {type(tensor).__name__} ({tensor.layout})"
    return None


def _is_wrapper(tensor: object) -> bool:
    return is_traceable_wrapper_subclass(tensor) and not is_dtensor(tensor)


class _Place(NamedTuple):
    """The bytes of one tensor, as a range within its storage."""

    storage: int
    start: int | torch.SymInt
    end: int | torch.SymInt
    name: str
    tensor: Tensor


def refuse_unwritable(root: nn.Module, slots: Sequence[Slot]) -> None:
    """Raises if writing into one of the Parameters fails, or changes another tensor of the tree.

    Values and gradients are changed in place, last of all. A write that fails there would leave a
    model half changed, and two Parameters over one memory (as `a.weight.data = b.weight.data.T`
    makes them) would each be scaled by both constants.

    Args:
        root: the tree whose parameters and buffers must not change along.
        slots: a place of each Parameter that is to be written.
    """
    written: dict[int, tuple[Slot, str]] = {}
    for slot in slots:
        parameter = slot.parameter
        for tensor, end in ((parameter, ""), (parameter.grad, ".grad")):
            if tensor is not None:
                written[id(tensor)] = slot, end
                _refuse_if_fixed(tensor, slot, end)
    last: _Place | None = None
    for place in sorted(_places(root), key=lambda place: place[:3]):
        if last and place.storage == last.storage and place.start < last.end:
            for one, other in ((place, last), (last, place)):
                if id(one.tensor) in written:
                    slot, end = written[id(one.tensor)]
                    raise SharedMemory(f"{slot}{end}", other.name)
        if last is None or (place.storage, place.end) > (last.storage, last.end):
            last = place


def _refuse_if_fixed(tensor: Tensor, slot: Slot, end: str) -> None:
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        raise UnsupportedWeight(f"{slot}{end}", "an inference tensor, which cannot be changed here")
    if tensor.layout is torch.strided and any(
        step == 0 < size - 1 for size, step in zip(tensor.shape, tensor.stride(), strict=True)
    ):
        raise UnsupportedWeight(f"{slot}{end}", "expanded, with many elements in one place")


def _tensors(root: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in root.named_parameters():
        yield name, parameter
        if parameter.grad is not None:
            yield f"{name}.grad", parameter.grad
    yield from root.named_buffers()


def _places(root: nn.Module) -> Iterator[_Place]:
    """Those that lie in one memory with others."""
    tensors = list(_tensors(root))
    addresses = [_address(tensor) for _, tensor in tensors]
    count = Counter(addresses)
    for (name, tensor), storage in zip(tensors, addresses, strict=True):
        if storage and count[storage] > 1:
            steps = zip(tensor.shape, tensor.stride(), strict=True)
            length = 1 + sum((size - 1) * stride for size, stride in steps)
            start = tensor.storage_offset()
            size = tensor.element_size()
            yield _Place(storage, start * size, (start + length) * size, name, tensor)


def _address(tensor: Tensor) -> int:
    """Where its memory begins; 0 if it has none."""
    if nn.parameter.is_lazy(tensor) or isinstance(tensor, FakeTensor):
        return 0
    if tensor.layout is not torch.strided or not tensor.numel():
        return 0
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):  # tensors of tensors have no storage of their own
        return 0
