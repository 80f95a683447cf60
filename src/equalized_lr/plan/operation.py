"""What torch says of an operation: its name, what it writes into, where its numbers come from."""

import math
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

# The running averages are overwritten, though the schema does not say so.
_UNDECLARED = ("native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm")


class Operation(NamedTuple):
    """The facts about one operation.

    Attributes:
        name: without its overload and the mark of those that write; torch's without namespace.
        is_torch: whether it is one of torch's own.
        is_view: whether its output shares memory with its input.
        is_random: whether it draws numbers.
        is_factory: whether it takes no more than a shape from its input.
        writes: the numbers of the arguments that it writes into.
        target_names: those of their names that are given by name.
    """

    name: str
    is_torch: bool
    is_view: bool
    is_random: bool
    is_factory: bool
    writes: tuple[int, ...]
    target_names: tuple[str, ...]

    def targets(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
        """The tensors that it writes into."""
        if not self.writes:
            return []
        by_name = [kwargs[name] for name in self.target_names if name in kwargs]
        return tensors_in([*(args[n] for n in self.writes if n < len(args)), *by_name])


@cache
def operation(func: Any) -> Operation:
    """The facts about an operation as a dispatch mode sees it; of higher-order ones, the name."""
    schema = getattr(func, "_schema", None)
    if schema is None:
        return Operation(func.name(), False, False, False, False, (), ())
    namespace, _, name = schema.name.rpartition("::")
    is_torch, name = namespace in ("aten", "prims", "prim"), name.rstrip("_")
    marked = [
        number
        for number, each in enumerate(schema.arguments)
        if (each.alias_info and each.alias_info.is_write) or name in _UNDECLARED
    ]
    return Operation(
        name=name if is_torch else f"{namespace}::{name}",
        is_torch=is_torch,
        is_view=func.is_view,
        is_random=torch.Tag.nondeterministic_seeded in func.tags,
        is_factory=name.startswith("new_") or name.endswith("_like"),
        writes=tuple(marked),
        target_names=tuple(schema.arguments[number].name for number in marked),
    )


def tensors_in(values: Iterable[Any]) -> list[Tensor]:
    """The tensors among the arguments or results of an operation, which may be in lists."""
    tensors = []
    for value in values:
        if isinstance(value, Tensor):
            tensors.append(value)
        elif isinstance(value, list | tuple):
            tensors += tensors_in(value)
    return tensors


def has_values(tensor: Tensor) -> bool:
    """Whether a tensor has values; indices and masks have none."""
    return tensor.is_floating_point() or tensor.is_complex()


def extent(tensor: Tensor) -> int:
    """The number of elements, without those that are the same ones again in a broadcast axis."""
    if tensor.layout is not torch.strided:
        return tensor.numel()
    axes = zip(tensor.shape, tensor.stride(), strict=True)
    return math.prod(size for size, stride in axes if stride or not size)
