"""Reads rule tables, in both directions: what happens to each tensor of a state_dict."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from equalized_lr.checkpoint.rows import Facts, Family, Row, pattern, split_name
from equalized_lr.errors import AmbiguousState, UnfitTensor, UnknownKeys

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Step:
    """What happens to one tensor.

    Attributes:
        key: its name in what was given.
        name: its name in the result; "" for a constant that goes into the weight beside it.
        shape: of the tensor given.
        scale: the constant c between stored and plain values, or None if it is left alone.
        why: in a few words, what it is, or why it is left alone.
        row: the row of the table that applies.
        flip: whether its kernel is mirrored.
    """

    key: str
    name: str
    shape: tuple[int, ...]
    scale: float | None
    why: str
    row: Row
    flip: bool = False


@dataclass(frozen=True)
class _Match:
    """A row that knows a key, with the parts of the key."""

    row: Row
    path: str
    name: str
    number: int
    back: bool

    def here(self, name: str) -> str:
        """A sibling's key in what was given."""
        return self.path + name if self.back else self.stored(name)

    def stored(self, name: str) -> str:
        """A sibling's key in the file."""
        return self.row.stored.format(path=self.path, name=name)


class Reading:
    """One state_dict, read by one table.

    Attributes:
        tensors: by their keys, with dots between the parts.
        back: whether the state_dict is plain, and the table read from right to left.
    """

    def __init__(
        self, state: Mapping[str, Tensor], family: Family, table: str, facts: Facts, *, back: bool
    ) -> None:
        self.family, self.rows, self.facts = family, family.tables[table], facts
        self.back = back
        self.keys: dict[str, str] = {}
        for key in state:
            dotted = key.replace(family.separator, ".")
            if dotted in self.keys:
                raise AmbiguousState(self.keys[dotted], key)
            self.keys[dotted] = key
        self.tensors = {dotted: state[key] for dotted, key in self.keys.items()}

    def steps(self) -> list[Step]:
        """One step for every key, in their order; or an error that names all that are unknown."""
        steps: list[Step] = []
        unknown: list[tuple[str, tuple[int, ...]]] = []
        named: dict[str, str] = {}
        for dotted, key in self.keys.items():
            shape = tuple(self.tensors[dotted].shape)
            matches = [match for row in self.rows if (match := self._match(row, dotted))]
            fitting = [m for m in matches if m.row.fits(self._stored_shape(m.row, shape))]
            if len(matches) > 1 and not self.back:  # a name that is known is not just anything
                fitting = [m for m in fitting if m.row.keys != "**"]
            if fitting:
                step = self._step(fitting[0], key, dotted)
                if step.name in named:
                    raise AmbiguousState(named[step.name], key)
                if step.name:
                    named[step.name] = key
                steps.append(step)
            elif matches:
                axes = " or ".join(map(str, matches[0].row.axes)) or "other"
                raise UnfitTensor(key, shape, f"has {len(shape)} axes", f"{axes} axes")
            else:
                unknown.append((key, shape))
        if unknown:
            raise UnknownKeys(self.family.name, unknown)
        return steps

    def _match(self, row: Row, key: str) -> _Match | None:
        match = match_key(row, self.family.prefix, key, self.back)
        if match is None or (row.unless and match.here(row.unless) in self.tensors):
            return None
        if row.only and match.path + row.only not in self.tensors:
            return None
        if row.beside_weight and self.back:
            siblings = (self.tensors.get(match.path + name) for name in ("weight", "weight_orig"))
            if not any(weight is not None and weight.dim() >= 2 for weight in siblings):
                return None
        if row.last:
            others = (match_key(row, self.family.prefix, key, self.back) for key in self.tensors)
            if match.number < max(other.number for other in others if other):
                return None
        return match

    def _stored_shape(self, row: Row, shape: tuple[int, ...]) -> tuple[int, ...]:
        return row.stored_shape(shape) if self.back else shape

    def _step(self, match: _Match, key: str, dotted: str) -> Step:
        row, tensor = match.row, self.tensors[dotted]
        shape = tuple(tensor.shape)
        name = "" if row.dropped else match.path + match.name
        if self.back:
            name = match.stored(match.name).replace(".", self.family.separator)
        if row.scale is None:
            return Step(key, name, shape, None, row.why, row)
        if tensor.dtype not in FLOATS or tensor.layout is not torch.strided:
            kind = str(tensor.dtype if tensor.dtype not in FLOATS else tensor.layout)
            raise UnfitTensor(key, shape, f"is of {kind}", "an ordinary floating-point tensor")
        scale = self._constant(match, key, shape)
        if not (math.isfinite(scale) and scale > 0):
            raise UnfitTensor(key, shape, f"has the constant c = {scale}", "a positive one")
        flip = row.flip if isinstance(row.flip, bool) else match.number >= self._fact(row.flip)
        return Step(key, name, shape, scale, row.why, row, flip)

    def _constant(self, match: _Match, key: str, shape: tuple[int, ...]) -> float:
        scale = match.row.scale
        assert scale is not None
        if scale.saved and not self.back:
            return self._saved(match.path + scale.saved, key, shape)
        if scale.beside:
            sibling = self.tensors.get(match.here(scale.beside))
            if sibling is None:
                raise UnfitTensor(
                    key, shape, f"has no '{scale.beside}' beside it", "one, whose c it is in"
                )
            shape = tuple(sibling.shape)
        return scale.value(self._stored_shape(match.row, shape), self.facts)

    def _saved(self, name: str, key: str, shape: tuple[int, ...]) -> float:
        constant = self.tensors.get(name)
        if constant is None or constant.numel() != 1 or constant.is_meta:
            raise UnfitTensor(key, shape, f"has no number '{name}' beside it", "its constant there")
        return float(constant.real)

    def _fact(self, name: str) -> float:
        value = self.facts[name]
        assert isinstance(value, int | float)
        return value


@cache
def _expressions(row: Row, prefix: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """The patterns of a row's stored keys and of its plain names."""
    path, name = split_name(row.keys)
    own = pattern(path).replace(r"(?:\d+)", r"(?P<number>\d+)", 1)
    path, name = pattern(prefix) + own, pattern(name)
    if row.keys.startswith("**"):
        path, name = r"(?:.*\.)?", row.keys[2:] or r"[^.]*"
    path, name = f"(?P<path>{path})", f"(?P<name>{name})"
    stored = re.escape(row.stored).replace(r"\{path\}", path).replace(r"\{name\}", name)
    return re.compile(stored), re.compile(path + name)


def match_key(row: Row, prefix: str, key: str, back: bool = False) -> _Match | None:
    """The parts of a key, if the row knows it."""
    found = _expressions(row, prefix)[back].fullmatch(key)
    if found is None:
        return None
    parts = found.groupdict()
    name = parts.get("name", row.keys.removeprefix("**"))
    return _Match(row, parts["path"], name, int(parts.get("number") or 0), back)


def coverage(keys: Iterable[str], family: Family) -> float:
    """The share of keys that a family knows, but for rows that take anything."""
    dotted = [key.replace(family.separator, ".") for key in keys]
    best = 0
    for rows in family.tables.values():
        named = [row for row in rows if row.keys != "**"]
        known = (any(match_key(row, family.prefix, key) for row in named) for key in dotted)
        best = max(best, sum(known))
    return best / max(len(dotted), 1)
