"""In-place writes into a computed weight, and how they reach the stored one.

Note [A write is a write]: `layer.weight` is computed, yet `nn.init.zeros_(layer.weight)` has to do
what it does to a Parameter. So a weight that is read outside of a forward is remembered for as long
as it lives: weakly, beside an alias that shares its memory and its count of changes. When it dies,
and before each read, forward, step, copy and save, a changed count shows that somebody wrote into
it, and its values are divided by c and stored. `weight.data` shares the memory but not the count,
so where the memory outlives the weight, and within `module.apply`, values are compared. The other
way round, a weight that is still held gets new values when the stored ones have changed.
"""

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from sys import getrefcount
from typing import Any, cast

import torch
from torch import Tensor

from equalized_lr.errors import EqualizedLRError, LostData, StaleWrite, Unscalable
from equalized_lr.tensors import (
    address,
    fingerprint,
    has_overflowed,
    other_holders,
    same_values,
    start_of,
)


class Watched:
    """What tells whether somebody wrote into a computed weight.

    Attributes:
        scale: the constant c.
        values: the weight, or an alias of it.
    """

    __slots__ = ("_changes", "_start", "scale", "values")

    def __init__(self, scale: float, values: Tensor) -> None:
        self.scale, self.values = scale, values
        self._changes, self._start = values._version, start_of(values)

    def is_current(self, raw: Tensor) -> bool:
        """Whether the stored parameter is what it was when the weight was computed or stored."""
        raise NotImplementedError

    def is_written(self) -> bool:
        """Whether somebody wrote into it, or replaced its `.data`, since it was computed."""
        values = self.values
        return values._version != self._changes or start_of(values) != self._start

    def refuse_to_store(self, raw: Tensor) -> None:
        """Raises if what was written cannot be stored."""
        if not self.is_current(raw):
            raise StaleWrite(tuple(raw.shape))
        with torch.inference_mode(False), torch.no_grad():
            if has_overflowed(self.values, self.values / self.scale):
                raise Unscalable("what was written into a weight", self.scale, str(raw.dtype))

    def store(self, raw: Tensor) -> None:
        """Divides by c what was written; elements that nobody wrote to keep their bits."""
        self.refuse_to_store(raw)
        with torch.inference_mode(False), torch.no_grad():
            quotient = self.values.detach() / self.scale
            if (raw.shape, raw.dtype, raw.device) == (quotient.shape, quotient.dtype, raw.device):
                is_same = self.values == raw * self.scale
                raw.copy_(torch.where(is_same, raw, quotient))
            else:
                raw.data = quotient
        self._changes, self._start = self.values._version, start_of(self.values)


class Kept(Watched):
    """A weight in a cache, beside the parameter that it was computed from.

    `layer.to(...)` and `p.data = other` change no version, only the address. Holding the old
    storage over several forwards keeps the allocator from reusing that address.
    """

    __slots__ = ("_memory", "_requires_grad", "_state", "_version", "raw")

    def __init__(self, raw: Tensor, scale: float, weight: Tensor, *, is_long: bool) -> None:
        super().__init__(scale, weight)
        self.raw, self._requires_grad, self._version = raw, raw.requires_grad, raw._version
        self._memory = raw.detach() if is_long else None
        self._state = fingerprint(raw) if is_long else None

    def is_current(self, raw: Tensor) -> bool:
        """By what can change within a forward, or by all that shows a change."""
        if raw._version != self._version or raw.requires_grad != self._requires_grad:
            return False
        return self._state is None or self._state == fingerprint(raw)

    def store(self, raw: Tensor) -> None:
        """As for all watched weights."""
        super().store(raw)
        self._version = raw._version
        self._state = fingerprint(raw) if self._state else None

    def keep_watching(self) -> None:
        """A weight that somebody holds is watched as those are that were read without a cache."""
        if getrefcount(self.values) > 2 or other_holders(self.values) != 0:
            one = remember(self.raw, self.scale, self.values)
            if not self.is_current(self.raw):
                one.follow(self.raw)


class Remembered(Watched):
    """A computed weight that somebody outside may hold."""

    __slots__ = ("_held", "_is_lost", "_raw", "_snapshot", "_state", "weight")

    def __init__(self, raw: Tensor, scale: float, weight: Tensor) -> None:
        super().__init__(scale, weight.detach())
        key, self._is_lost, self._state = id(raw), False, fingerprint(raw)
        self._raw = weakref.ref(raw, lambda _: remembered.pop(key, None))
        self.weight = weakref.ref(weight, self._on_death)
        self._held = weight if is_comparing() else None
        self._snapshot = self.values.clone() if is_comparing() else None

    def _on_death(self, _: object) -> None:
        raw = self._raw()
        if raw is None:
            return
        others = other_holders(self.values)  # one of them is the weight that dies
        self._is_lost = others == 0
        if self._snapshot is None and others is not None and others > 1:
            self._snapshot = self.values.clone()
        records = remembered.get(id(raw), [])
        try:
            store_writes(raw)
        except EqualizedLRError:  # which nobody would see here; the next one who looks does
            remembered[id(raw)] = records

    def is_written(self) -> bool:
        """Also whether somebody wrote into `.data` or an array that outlived the weight."""
        weight = self.weight()
        if weight is not None and start_of(weight) != start_of(self.values):
            self.values = weight.detach()  # it has other memory now
        if self._is_lost or super().is_written():
            return True
        return self._snapshot is not None and not same_values(self.values, self._snapshot)

    def is_current(self, raw: Tensor) -> bool:
        """By all that shows a change."""
        return self._state == fingerprint(raw)

    def refuse_to_store(self, raw: Tensor) -> None:
        """Raises if what was written cannot be stored, or is gone."""
        if self._is_lost:
            raise LostData(tuple(raw.shape))
        super().refuse_to_store(raw)

    def release(self) -> bool:
        """Lets go of the weight; returns whether somebody else can still write into it."""
        self._held = None
        if self.weight() is not None:
            return True
        return self._snapshot is not None and bool(other_holders(self.values))

    def store(self, raw: Tensor) -> None:
        """As for all watched weights; what is compared later is what is stored now."""
        super().store(raw)
        self._note(raw)

    def follow(self, raw: Tensor) -> None:
        """Lets a weight that is still held change with the stored one, as a Parameter would."""
        own = self.values
        is_alike = (raw.shape, raw.dtype, raw.device) == (own.shape, own.dtype, own.device)
        if not is_alike or not address(raw):  # FSDP has freed it, or it is distributed
            return
        with torch.inference_mode(False), torch.no_grad():
            weight = raw * self.scale
            # Other memory may have the same values, and a pending backward counts all writes.
            if raw._version != self._state[0] or not same_values(own, weight):
                own.copy_(weight)
        self._note(raw)

    def _note(self, raw: Tensor) -> None:
        self._changes, self._start = self.values._version, start_of(self.values)
        self._state = fingerprint(raw)
        if self._snapshot is not None:
            self._snapshot = self.values.clone()


# By the id of the stored parameter; empty unless somebody holds a computed weight.
remembered: dict[int, list[Remembered]] = {}
_lock = threading.RLock()  # weights die, and are looked at, in any thread


class _Comparing(threading.local):
    depth = 0


_comparing = _Comparing()


def is_comparing() -> bool:
    """Whether values of weights that are read are kept."""
    return _comparing.depth > 0


@contextmanager
def comparing() -> Iterator[None]:
    """Inside, values of weights that are read are kept from the start, to see writes by `.data`."""
    _comparing.depth += 1
    try:
        yield
    finally:
        _comparing.depth -= 1


def remember(raw: Tensor, scale: float, weight: Tensor) -> Remembered:
    """Watches a computed weight for as long as somebody can write into it."""
    # What `isinstance(weight, nn.Parameter)` asks, as tie_weights() of transformers does.
    cast(Any, weight)._is_param = True
    one = Remembered(raw, scale, weight)
    with _lock:
        remembered.setdefault(id(raw), []).append(one)
    return one


def held_weight(raw: Tensor, scale: float) -> Tensor | None:
    """The weight that somebody holds, if it is c * raw as it is now: then all hold the same."""
    for one in remembered.get(id(raw), ()):
        weight = one.weight()
        if weight is not None and weight.requires_grad == raw.requires_grad:
            with torch.no_grad():
                if same_values(one.values, raw * scale):
                    return weight
    return None


def remembered_parameter(weight: object) -> tuple[Tensor, float] | None:
    """The stored parameter and c of a weight that was read from some layer."""
    for records in list(remembered.values()):
        for one in records:
            raw = one._raw()
            if one.weight() is weight and raw is not None:
                return raw, one.scale
    return None


def store_writes(raw: Tensor) -> None:
    """Takes what was written into weights computed from a parameter into the parameter.

    What cannot be stored is forgotten after the error.

    Raises:
        StaleWrite: the parameter has changed since the weight was read.
        Unscalable: the values divided by c do not fit into the parameter's dtype.
    """
    with _lock:
        records = remembered.pop(id(raw), [])
        written = [one for one in records if one.is_written()]
        for one in written:
            one.refuse_to_store(raw)
        if len(written) > 1:
            raise StaleWrite(tuple(raw.shape))  # nobody can tell which of the writes was the last
        for one in written:
            one.store(raw)
        rest = [one for one in records if one.release()]
        for one in rest:
            if not one.is_current(raw):
                one.follow(raw)
        if rest:
            remembered.setdefault(id(raw), []).extend(rest)
