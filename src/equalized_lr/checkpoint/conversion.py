"""What happens to each tensor of a state_dict, and the arithmetic that does it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from equalized_lr.errors import AmbiguousState, ConflictingTie, UnfitTensor, UnscalableValues

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Conversion:
    """What happens to one tensor.

    Attributes:
        key: its name in the argument.
        name: its name in the result; "" if it is not in there.
        shape: of the tensor in the argument.
        scale: the constant c between stored and plain values, or None if it is left alone.
        why: in a few words, what it is, or why it is left alone.
        order: the stored axes in the order in which the plain tensor has them; () for the same.
        flip: whether the plain kernel is mirrored.
    """

    key: str
    name: str
    shape: tuple[int, ...]
    scale: float | None
    why: str
    order: tuple[int, ...] = ()
    flip: bool = False

    @classmethod
    def alone(cls, key: str, name: str, tensor: Tensor, why: str) -> Self:
        """Leaves a tensor as it is."""
        return cls(key, name, tuple(tensor.shape), None, why)

    @classmethod
    def scaled(
        cls,
        key: str,
        name: str,
        tensor: Tensor,
        scale: float,
        why: str,
        *,
        order: tuple[int, ...] = (),
        flip: bool = False,
    ) -> Self:
        """Scales a tensor, or raises if it cannot be scaled."""
        shape = tuple(tensor.shape)
        if tensor.dtype not in FLOATS or tensor.layout is not torch.strided:
            kind = str(tensor.dtype if tensor.dtype not in FLOATS else tensor.layout)
            raise UnfitTensor(key, shape, f"is of {kind}", "an ordinary floating-point tensor")
        if not (math.isfinite(scale) and scale > 0):
            raise UnfitTensor(key, shape, f"has the constant c = {scale}", "a positive one")
        return cls(key, name, shape, scale, why, order, flip)

    def behind(self, prefix: str) -> Self:
        """The same for names that have a prefix."""
        name = prefix + self.name if self.name else ""
        return replace(self, key=prefix + self.key, name=name) if prefix else self


def refuse_twice(conversions: Iterable[Conversion]) -> None:
    """Raises if two tensors would get one name."""
    keys: dict[str, str] = {}
    for conversion in conversions:
        if conversion.name and keys.setdefault(conversion.name, conversion.key) != conversion.key:
            raise AmbiguousState(keys[conversion.name], conversion.key)


@torch.no_grad()
def convert_tensors(
    tensors: Mapping[str, Tensor], conversions: Sequence[Conversion], *, back: bool
) -> dict[str, Tensor]:
    """The tensors that result. Ties stay ties; what is scaled is in new memory."""
    result: dict[str, Tensor] = {}
    done: dict[object, tuple[Conversion, Tensor]] = {}
    for conversion in conversions:
        if not conversion.name:
            continue
        tensor = tensors[conversion.key].detach()
        if conversion.scale is None:
            result[conversion.name] = tensor
            continue
        memory = _memory(tensor)
        if memory not in done:
            done[memory] = conversion, _converted(tensor, conversion, conversion.scale, back)
        first, result[conversion.name] = done[memory]
        _refuse_conflict(first, conversion)
    return result


def _refuse_conflict(one: Conversion, other: Conversion) -> None:
    """Raises if one tensor under two names would become two."""
    if (one.scale, one.order, one.flip) != (other.scale, other.order, other.flip):
        scales = [(f"'{c.key}'", c.scale) for c in (one, other) if c.scale is not None]
        raise ConflictingTie(scales)


def _memory(tensor: Tensor) -> object:
    """What two tensors have in common only if they are one."""
    storage = tensor.untyped_storage()._cdata
    return storage, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype


def _converted(tensor: Tensor, conversion: Conversion, scale: float, back: bool) -> Tensor:
    value = tensor / scale if back else tensor * scale
    if not value.is_meta and not torch.equal(value.isfinite(), tensor.isfinite()):
        raise UnscalableValues(conversion.key, scale, str(tensor.dtype), back)
    order = conversion.order
    if order and not back:
        value = value.permute(order)
    if conversion.flip:
        value = value.flip(-2, -1)
    if order and back:
        value = value.permute([order.index(axis) for axis in range(value.dim())])
    return value.contiguous() if order else value
