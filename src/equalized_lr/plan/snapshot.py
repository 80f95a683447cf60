"""A module as it was: whatever a forward changes is put back."""

import random
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import Generator, Tensor, UntypedStorage, nn

from equalized_lr.optional import set_version

CONTAINERS = (dict, OrderedDict, list, set, deque)
# They hold no tensors of their own, or they are looked at one by one.
_ATOMS = (str, bytes, int, float, type, ModuleType, FunctionType, nn.Module, type(None))


def memory_of(tensor: Tensor) -> int | None:
    """What tells one tensor's memory from that of others; None if it has none of its own."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):  # sparse and wrapped tensors
        return None


def contents(value: object) -> Iterator[Tensor | Generator]:
    """The tensors and generators in containers and plain objects, each once."""
    ids: set[int] = set()
    stack = [value]
    while stack:
        value = stack.pop()
        if id(value) in ids or isinstance(value, _ATOMS):
            continue
        ids.add(id(value))
        if isinstance(value, Tensor | Generator):
            yield value
        else:
            stack += reversed(_parts(value))


def _parts(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list | tuple | set | frozenset | deque):
        return list(value)
    return list(getattr(value, "__dict__", {}).values())


class _Tensor:
    """A tensor with its memory, gradient and version; values are copied only if they change."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.alias = tensor, tensor.detach()
        self.is_leaf, self.requires_grad = tensor.is_leaf, tensor.requires_grad
        self.grad = tensor.grad if tensor.is_leaf else None
        self.version = None if tensor.is_inference() else tensor._version

    def restore(self) -> None:
        tensor = self.tensor
        if memory_of(tensor) != memory_of(self.alias):
            tensor.data = self.alias
        if self.is_leaf and not tensor.is_leaf:
            tensor.detach_()  # something that needs gradients was written into it
        if tensor.is_leaf and tensor.grad is not self.grad:
            tensor.grad = self.grad
        if tensor.requires_grad != self.requires_grad:
            tensor.requires_grad_(self.requires_grad)
        if self.version is not None and tensor._version != self.version:
            set_version(tensor, self.version)


class Snapshot:
    """The state of a module and of its arguments.

    Memory is copied when an operation is about to write into it: so a forward that writes nothing
    costs no copy.
    """

    def __init__(self, module: nn.Module, arguments: object) -> None:
        self._attributes = []
        for each in module.modules():
            state = vars(each)
            inner = {key: copy for key, v in state.items() if (copy := _shallow(v)) is not None}
            self._attributes.append((state, dict(state), inner))
        parts = list(contents([arguments, *map(vars, module.modules())]))
        tensors = [part for part in parts if isinstance(part, Tensor)]
        tensors += [each.grad for each in tensors if each.is_leaf and each.grad is not None]
        self._tensors = [_Tensor(tensor) for tensor in tensors]
        self._outside = {memory_of(tensor): tensor for tensor in tensors}
        self._copies: dict[int | None, tuple[UntypedStorage, UntypedStorage]] = {}
        generators = [part for part in parts if isinstance(part, Generator)]
        self._generators = [(each, each.get_state()) for each in generators]
        self._python_random = random.getstate()

    def before_writing(self, tensors: Sequence[Tensor]) -> None:
        """Copies the memory that an operation is about to write into."""
        for tensor in tensors:
            memory = memory_of(tensor)
            if memory and memory in self._outside and memory not in self._copies:
                storage = self._outside[memory].untyped_storage()
                self._copies[memory] = storage, storage.clone()

    def restore(self) -> None:
        """Puts everything back."""
        for state, attributes, inner in self._attributes:
            state.clear()
            state.update(attributes)
            for key, copy in inner.items():
                _refill(state[key], copy)
        for storage, copy in self._copies.values():
            storage.copy_(copy)
        for each in self._tensors:
            each.restore()
        for generator, numbers in self._generators:
            generator.set_state(numbers)
        random.setstate(self._python_random)


def _shallow(value: object) -> Any:
    return value.copy() if type(value) in CONTAINERS else None  # type: ignore[attr-defined]


def _refill(container: Any, copy: Any) -> None:
    container.clear()
    container.extend(copy) if isinstance(container, list | deque) else container.update(copy)


@contextmanager
def restoration(module: nn.Module, arguments: object) -> Iterator[Snapshot]:
    """Inside, a module can run as it likes; afterwards it is as it was, and random state too."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    snapshot = Snapshot(module, arguments)
    torch.clear_autocast_cache()
    with torch.random.fork_rng(devices):
        try:
            yield snapshot
        finally:
            snapshot.restore()
            torch.clear_autocast_cache()
