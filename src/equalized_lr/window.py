"""How long a computed weight is believed: within one forward, or inside `cached()`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from equalized_lr.distributed import fsdp2_is_in_use


class Computed(NamedTuple):
    """A weight, and what it was computed from: a tensor, its version, its memory if known."""

    raw: Tensor
    version: int
    memory: Tensor | None
    weight: Tensor


class Held:
    """Computed weights, each believed as long as its circumstances are those of its computation."""

    __slots__ = ("_computed",)

    def __init__(self) -> None:
        self._computed: dict[Hashable, Computed] = {}

    def read(self, key: Hashable, raw: Tensor, scale: float) -> Tensor:
        """c * raw, computed at the first read and again whenever its circumstances changed."""
        if _is_transformed() or raw.is_inference():
            return raw * scale
        held = self._computed.get(key)
        if (
            held is not None
            and held.raw is raw
            and held.version == raw._version
            and (held.memory is None or _view(held.memory) == _view(raw))
            and held.weight.requires_grad == (raw.requires_grad and torch.is_grad_enabled())
            and held.weight.is_inference() == torch.is_inference_mode_enabled()
            and self._believes()
        ):
            return held.weight
        # `raw * scale` would keep the scale as a tensor for backward, and a second backward
        # would fail on what it shares with the first; this form keeps a number.
        weight = cast(Tensor, torch.ops.aten.mul.Scalar(raw, scale))
        if self._believes():
            self._computed[key] = Computed(raw, raw._version, self._memory(raw), weight)
        return weight

    def _memory(self, raw: Tensor) -> Tensor | None:
        return None

    def _believes(self) -> bool:
        raise NotImplementedError


def _view(tensor: Tensor) -> tuple[Hashable, ...]:
    """Where a tensor lies in memory, and how it is laid out there."""
    storage = tensor.untyped_storage()._cdata
    layout = tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.is_conj()
    return storage, *layout


def _is_transformed() -> bool:
    # A weight computed under a functorch level or a dispatch mode (fake tensors, selective
    # checkpointing, tracing) belongs to that level and to no other. Inference tensors, the other
    # case of `read`, have no version that could be compared.
    return (
        torch._C._functorch.peek_interpreter_stack() is not None
        or torch._C._len_torch_dispatch_stack() != 0
    )


class Window(Held):
    """What one forward has computed so far.

    Note [A window is a frame]: a computed weight is shared only among the reads of one forward,
    that is underneath the frame which opened the window. A frame belongs to one thread and is left
    by every exception (KeyboardInterrupt too, for which torch calls no hook), so no value can
    survive its forward or cross into another thread, whatever happens to the hook that closes.
    """

    __slots__ = ("_frame",)

    def __init__(self, frame: FrameType) -> None:
        super().__init__()
        self._frame = frame

    def _believes(self) -> bool:
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            if frame is self._frame:
                return True
            frame = frame.f_back
        return False


class Cache(Held):
    """What was computed since one thread entered `cached()`."""

    __slots__ = ("ended",)

    def __init__(self) -> None:
        super().__init__()
        self.ended = False

    def read(self, key: Hashable, raw: Tensor, scale: float) -> Tensor:
        """As in a window, with one weight for each grad mode."""
        if torch._C._get_tracing_state() is not None:  # a trace would take it for a constant
            return raw * scale
        weight = super().read((id(raw), scale, torch.is_grad_enabled()), raw, scale)
        if weight.is_inference() or weight._version == 0:
            return weight
        self.clear()  # somebody wrote into it, which must not come back
        return self.read(key, raw, scale)

    def clear(self) -> None:
        """Forgets everything."""
        self._computed.clear()

    # `p.data = other`, which `layer.to(...)` does, changes no version. Kept alive, the memory of
    # before cannot come back as that of the next values. A window is too short to care.
    def _memory(self, raw: Tensor) -> Tensor | None:
        return raw.detach()

    def _believes(self) -> bool:
        return True


class _Caches(threading.local):
    """The cache of this thread, inside `cached()`."""

    current: Cache | None = None


_caches = _Caches()


def current_cache() -> Cache | None:
    """The cache of this thread, or None outside of `cached()`.

    Note [Caching and FSDP2]: fully_shard gathers new values into the same tensor and takes the
    count of its changes back, so that nothing shows that they are others. A cache would be stale.
    Where there are such models it is None, and every forward computes.
    """
    cache = _caches.current
    return None if cache is None or cache.ended or fsdp2_is_in_use() else cache


@contextmanager
def cached() -> Iterator[None]:
    """Inside, a weight that does not change is computed once, over many forwards.

    For code that calls a layer several times between two steps: D(real) and D(fake), gradient
    accumulation, evaluation. An optimizer's step, a loaded state_dict, or any other change of the
    stored parameter in between is seen (but for writes past torch's counter of versions: in place
    into `.data` or `.numpy()`, by other code than an optimizer's step), and the gradients of all
    forwards arrive. It holds for the thread that entered it; where it is nested, the outermost one
    counts. Each weight that was read stays in memory until the end (or until it changes).

    Compiled code computes its weights itself and is not concerned, nor are models under FSDP2's
    `fully_shard`, whose weights come and go: they compute in every forward.

    Example:
        >>> layer = equalize_lr(nn.Linear(8, 2))
        >>> with cached():
        ...     layer.weight is layer.weight
        True
        >>> layer.weight is layer.weight
        False
    """
    if current_cache() is not None:
        yield
        return
    cache = _caches.current = Cache()

    # Optimizers that write through `.data` leave no trace on the parameter.
    def forget(optimizer: object, args: Any, kwargs: Any) -> None:
        cache.clear()

    handle = register_optimizer_step_post_hook(forget)
    try:
        yield
    finally:
        handle.remove()
        cache.clear()
        cache.ended = True  # seen also by the thread that entered, if a generator ends elsewhere
