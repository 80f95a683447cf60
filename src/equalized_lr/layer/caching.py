"""How long a computed weight may be reused: within one forward, or inside `cached()`."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, is_grad_enabled, is_inference_mode_enabled, mul, nn
from torch._C import _get_tracing_state, _len_torch_dispatch_stack, _set_grad_enabled
from torch._C._functorch import peek_interpreter_stack
from torch._subclasses import FakeTensor
from torch.compiler import is_dynamo_compiling
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from equalized_lr.layer import writes
from equalized_lr.layer.writes import Kept
from equalized_lr.tensors import fsdp2_is_in_use


class Cache:
    """The weights computed in one forward, or since a thread entered `cached()`.

    Note [Caching and FSDP2]: fully_shard gathers new values into the same tensor and takes the
    count of its changes back, so that nothing shows that they are others. Where it is in use,
    `cached()` keeps nothing, and each forward computes.

    Attributes:
        is_long: whether it spans several forwards.
        is_open: false once it has been closed, perhaps by another thread.
    """

    __slots__ = ("_former", "_kept", "_with_grad", "is_long", "is_open")

    def __init__(self, *, is_long: bool, with_grad: bool = True) -> None:
        self._kept: dict[tuple[int, float], Kept] = {}
        self._former: list[Kept] = []  # outdated, but a forward may still write into them
        self._with_grad = with_grad
        self.is_long, self.is_open = is_long, True

    def find(self, raw: Tensor, scale: float) -> Tensor | None:
        """c * raw, if it was computed from the parameter as it is."""
        kept = self._kept.get((id(raw), scale))
        if kept is None or (self.is_long and _is_capturing()):
            return None
        if kept.is_written():
            kept.store(raw)
        weight = kept.values
        lacks_grad = is_grad_enabled() and weight.requires_grad != raw.requires_grad
        return weight if kept.is_current(raw) and not lacks_grad else None

    def compute(self, raw: Tensor, scale: float) -> Tensor:
        """c * raw, anew."""
        with_grad = self._with_grad or is_inference_mode_enabled()
        weight = _computed(raw, scale) if with_grad else mul(raw, scale)
        if self.is_long and _changes_unseen(raw):
            writes.remember(raw, scale, weight)
            return weight
        key = id(raw), scale
        former = self._kept.get(key)
        if former is not None:
            former.keep_watching() if self.is_long else self._former.append(former)
        self._kept[key] = Kept(raw, scale, weight, is_long=self.is_long)
        return weight

    def parameter_of(self, weight: Tensor) -> tuple[Tensor, float] | None:
        """The stored parameter and c of a weight in the cache."""
        pairs = ((kept.raw, kept.scale) for kept in self._kept.values() if kept.values is weight)
        return next(pairs, None)

    def store_writes(self) -> None:
        """Takes what was written into the weights into the parameters."""
        _store((*self._kept.values(), *self._former))

    def clear(self) -> None:
        """Forgets everything, after storing what was written."""
        try:
            self.store_writes()
        finally:
            self._kept.clear()

    def drop(self, parameters: Collection[int] | None = None) -> None:
        """Forgets the weights of parameters (by id), or all; what somebody holds is watched."""
        keys = [key for key in tuple(self._kept) if parameters is None or key[0] in parameters]
        # Another thread that steps the same parameters may have been quicker.
        dropped = [kept for key in keys if (kept := self._kept.pop(key, None))]
        try:
            _store(dropped)
        finally:
            for kept in dropped:
                kept.keep_watching()


def _store(weights: Iterable[Kept]) -> None:
    for kept in weights:
        if kept.is_written():
            kept.store(kept.raw)


def _changes_unseen(raw: Tensor) -> bool:
    """Whether a parameter can take other values between two forwards without a trace."""
    # A conjugate view lies where its tensor lies.
    return raw.is_complex() or _is_capturing() or fsdp2_is_in_use()


def _is_capturing() -> bool:
    """Whether a CUDA graph is captured, whose replays would read a weight that is kept."""
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()


class _Current(threading.local):
    cache: Cache | None = None


_current = _Current()


def current_cache() -> Cache | None:
    """The cache of this thread, or None outside of `cached()` and of forwards that share."""
    cache = _current.cache
    return cache if cache is not None and cache.is_open else None


def is_plain_read() -> bool:
    """Whether a read in a forward that reads once has nothing to look at but the parameter."""
    return _current.cache is None and not writes.remembered


def effective(raw: Tensor, scale: float) -> Tensor:
    """c * raw, as a Parameter would be: writes into it count, and grad modes do not matter."""
    # A weight computed under a functorch level, a dispatch mode (fake tensors, selective
    # checkpointing) or a trace belongs to that level.
    # Where a forward is compiled in parts, as torch does with RNNs, this function may be one.
    if (
        is_dynamo_compiling()
        or peek_interpreter_stack() is not None
        or _len_torch_dispatch_stack()
        or _get_tracing_state() is not None
    ):
        return raw * scale
    if writes.remembered:
        writes.store_writes(raw)
    cache = current_cache()
    if cache is not None and writes.is_comparing():
        cache.store_writes()
        cache = None  # which does not compare
    weight = cache.find(raw, scale) if cache is not None else writes.held_weight(raw, scale)
    if weight is not None:
        return weight
    if raw.is_inference() or isinstance(raw, FakeTensor):  # which have no versions, or no values
        return raw * scale
    if cache is not None:
        return cache.compute(raw, scale)
    weight = _computed(raw, scale)
    writes.remember(raw, scale, weight)
    return weight


# `raw * scale` would keep the scale as a tensor for backward, and a second backward would fail on
# what it shares with the first; this form keeps a number.
_multiply: Callable[[Tensor, float], Tensor] = torch.ops.aten.mul.Scalar


def _computed(raw: Tensor, scale: float) -> Tensor:
    if is_inference_mode_enabled():
        with torch.inference_mode(False):
            return _computed(raw, scale)
    if is_grad_enabled():
        return _multiply(raw, scale)
    # Set by hand, since the context managers cost more than the product of a small layer.
    _set_grad_enabled(True)
    try:
        return _multiply(raw, scale)
    finally:
        _set_grad_enabled(False)


def parameter_behind(weight: Tensor) -> tuple[Tensor, float] | None:
    """The stored parameter and c of a weight that was read from some layer."""
    cache = current_cache()
    return (cache and cache.parameter_of(weight)) or writes.remembered_parameter(weight)


def store_writes(raw: Tensor) -> None:
    """Takes what was written into the weights computed from a parameter into the parameter.

    Raises:
        StaleWrite: the parameter has changed since the weight was read.
        Unscalable: the values divided by c do not fit into the parameter's dtype.
    """
    cache = current_cache()
    if cache is not None:
        cache.store_writes()
    if writes.remembered:
        writes.store_writes(raw)


def sharing(plain: type[nn.Module]) -> Callable[..., Any]:
    """A class's forward, in which all reads of one weight are one tensor."""
    # Other forwards may return a weight, through which gradients flow wherever it was read.
    is_torchs = plain.forward.__module__.startswith("torch.nn.")

    @functools.wraps(plain.forward)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        if is_dynamo_compiling():
            return plain.forward(self, *args, **kwargs)
        outer = _current.cache
        if outer is not None and outer.is_long and outer.is_open:
            return plain.forward(self, *args, **kwargs)
        with_grad = not is_torchs or is_grad_enabled()
        own = _current.cache = Cache(is_long=False, with_grad=with_grad)
        try:
            return plain.forward(self, *args, **kwargs)
        finally:
            _current.cache = outer
            own.clear()

    return forward


_long: set[Cache] = set()  # what `cached()` has opened, in all threads


def _around_step(optimizer: Any, args: Any, kwargs: Any) -> None:
    """Optimizers that write through `.data` leave no trace on their parameters."""
    if not is_dynamo_compiling() and (_long or writes.remembered):
        stepped = {id(p): p for group in optimizer.param_groups for p in group["params"]}
        for cache in tuple(_long):
            cache.drop(stepped)
        for key in stepped.keys() & writes.remembered.keys():
            writes.store_writes(stepped[key])


# At once, since torch's table of hooks must not change while another thread's step reads it.
register_optimizer_step_pre_hook(_around_step)
register_optimizer_step_post_hook(_around_step)


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
        ...     first = layer.weight
        ...     _ = layer(torch.ones(1, 8))
        ...     first is layer.weight
        True
    """
    outer = current_cache()
    if outer is not None and outer.is_long:
        yield
        return
    cache = _current.cache = Cache(is_long=True)
    _long.add(cache)
    try:
        yield
    finally:
        _long.discard(cache)
        _current.cache = outer
        cache.is_open = False  # seen by the thread that entered, if a generator ends elsewhere
        cache.drop()
