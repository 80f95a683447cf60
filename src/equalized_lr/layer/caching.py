"""How long a computed weight is believed: within one forward, or inside `cached()`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, is_grad_enabled, is_inference_mode_enabled
from torch._C import _get_tracing_state, _len_torch_dispatch_stack
from torch._C._functorch import peek_interpreter_stack
from torch.optim.optimizer import register_optimizer_step_post_hook

from equalized_lr.tensors import fsdp2_is_in_use

# The questions below stand in each forward of each layer, often with the processor's caches full of
# weights; there each object that is touched costs ten times what it costs in a loop. Hence names
# bound at import, and few calls.


def _is_transformed() -> bool:
    # A weight computed under a functorch level or a dispatch mode (fake tensors, selective
    # checkpointing, tracing) belongs to that level and to no other.
    return peek_interpreter_stack() is not None or _len_torch_dispatch_stack() != 0


def _times(raw: Tensor, scale: float) -> Tensor:
    # `raw * scale` would keep the scale as a tensor for backward, and a second backward would fail
    # on what it shares with the first; this form keeps a number.
    return cast(Tensor, torch.ops.aten.mul.Scalar(raw, scale))


class Computed(NamedTuple):
    """A weight, and the tensor and version of it that it was computed from."""

    raw: Tensor
    version: int
    weight: Tensor


class Window:
    """What one forward has computed so far.

    Note [A window is a frame]: a computed weight is shared only among the reads of one forward,
    that is underneath the frame which opened the window. A frame belongs to one thread and is left
    by every exception (KeyboardInterrupt too, for which torch calls no hook), so no value can
    survive its forward or cross into another thread, whatever happens to the hook that closes.
    """

    __slots__ = ("_computed", "_frame")

    def __init__(self, frame: FrameType) -> None:
        self._frame = frame
        self._computed: dict[str, Computed] = {}

    def read(self, name: str, raw: Tensor, scale: float) -> Tensor:
        """c * raw, computed at the first read and again whenever its circumstances changed."""
        if _is_transformed() or raw.is_inference():  # which has no version to compare
            return raw * scale
        found = self._computed.get(name)
        if (
            found is not None
            and found.raw is raw
            and found.version == raw._version
            and found.weight.requires_grad == (raw.requires_grad and is_grad_enabled())
            and found.weight.is_inference() == is_inference_mode_enabled()
            and self._is_open()
        ):
            return found.weight
        weight = _times(raw, scale)
        if self._is_open():
            self._computed[name] = Computed(raw, raw._version, weight)
        return weight

    def _is_open(self) -> bool:
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            if frame is self._frame:
                return True
            frame = frame.f_back
        return False


class Kept(NamedTuple):
    """A weight inside `cached()`, and what has to be the same for it to be believed.

    What it was computed from is held, so that its id and its memory are not given to others.
    """

    raw: Tensor
    now: Hashable
    memory: Tensor
    weight: Tensor
    changes: int | None


class Cache:
    """What was computed since one thread entered `cached()`.

    Note [Caching and FSDP2]: fully_shard gathers new values into the same tensor and takes the
    count of its changes back, so that nothing shows that they are others. Where there are such
    models nothing is kept, and every forward computes; what was kept before is of other tensors.
    """

    __slots__ = ("_computed", "ended")

    def __init__(self) -> None:
        self._computed: dict[Hashable, Kept] = {}
        self.ended = False

    def read(self, name: str, raw: Tensor, scale: float) -> Tensor:
        """As in a window, with one weight for each constant and mode."""
        # A trace would take a kept weight for a constant.
        if _get_tracing_state() is not None or _is_transformed() or raw.is_inference():
            return raw * scale
        key = id(raw), scale, is_grad_enabled(), is_inference_mode_enabled()
        now = raw._version, raw.requires_grad, raw.data_ptr(), raw.shape, raw.stride()
        kept = self._computed.get(key)
        if kept is not None and kept.now == now:
            weight = kept.weight
            if kept.changes is None or kept.changes == weight._version:
                return weight  # and nobody wrote into it, which must not come back
        weight = _times(raw, scale)
        # A conjugate view lies where its tensor lies, and nothing in `now` tells them apart.
        if fsdp2_is_in_use() or raw.is_complex():
            return weight
        changes = None if weight.is_inference() else weight._version
        # `p.data = other`, which `layer.to(...)` does, changes no version. Kept alive, the memory
        # of before cannot come back as that of the next values. A window is too short to care.
        self._computed[key] = Kept(raw, now, raw.detach(), weight, changes)
        return weight

    def clear(self) -> None:
        """Forgets everything."""
        self._computed.clear()


class _Caches(threading.local):
    """The cache of this thread, inside `cached()`."""

    current: Cache | None = None


_caches = _Caches()


def current_cache() -> Cache | None:
    """The cache of this thread, or None outside of `cached()`."""
    cache = _caches.current
    return None if cache is None or cache.ended else cache


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
