"""Reads rule tables, in both directions: what happens to each tensor of a state_dict."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from torch import Tensor

from equalized_lr.checkpoint.conversion import Conversion
from equalized_lr.checkpoint.family import Family
from equalized_lr.checkpoint.rows import Facts, Row, pattern, split_name
from equalized_lr.errors import UnfitTensor, UnknownKeys


@dataclass(frozen=True)
class _Match:
    """A row that knows a key, with the parts of the key."""

    row: Row
    path: str
    name: str
    number: int


class Reading:
    """One state_dict, read by one table.

    Attributes:
        tensors: by their keys, with dots between the parts.
        back: whether the state_dict is plain, and the table read from right to left.
    """

    def __init__(
        self, state: Mapping[str, Tensor], family: Family, table: str, facts: Facts, *, back: bool
    ) -> None:
        self.family, self.facts, self.back = family, facts, back
        self.rows = _compiled(family.tables[table], family.prefix, back)
        self.dotted = {key: key.replace(family.separator, ".") for key in state}
        self.tensors = {dotted: state[key] for key, dotted in self.dotted.items()}

    def conversions(self) -> list[Conversion]:
        """One for every key, in their order; or an error that names all that are unknown."""
        conversions: list[Conversion] = []
        unknown: list[tuple[str, tuple[int, ...]]] = []
        for key, dotted in self.dotted.items():
            shape = tuple(self.tensors[dotted].shape)
            matches = self._matches(dotted)
            match = self._fitting(dotted, matches)
            if match:
                conversions.append(self._conversion(match, key, dotted))
            elif matches:
                axes = " or ".join(map(str, matches[0].row.axes)) or "other"
                raise UnfitTensor(key, shape, f"has {len(shape)} axes", f"{axes} axes")
            else:
                unknown.append((key, shape))
        if unknown:
            raise UnknownKeys(self.family.name, unknown, known=len(conversions))
        return conversions

    def known(self) -> int:
        """How many keys fit the table."""
        known = filter(_union(tuple(keys for _, keys in self.rows)).fullmatch, self.tensors)
        return sum(self._fitting(key, self._matches(key)) is not None for key in known)

    def _matches(self, dotted: str) -> list[_Match]:
        return [match for row, keys in self.rows if (match := self._match(row, keys, dotted))]

    def _fitting(self, dotted: str, matches: list[_Match]) -> _Match | None:
        """The first match whose kind of tensor can have this shape."""
        shape = tuple(self.tensors[dotted].shape)
        fitting = (match for match in matches if match.row.fits(self._stored_shape(match, shape)))
        return next(fitting, None)

    def _match(self, row: Row, keys: re.Pattern[str], key: str) -> _Match | None:
        match = _parts(row, keys, key)
        if match is None or (row.unless and self._sibling(match, row.unless) in self.tensors):
            return None
        if row.only and self._sibling(match, row.only) not in self.tensors:
            return None
        if row.last:
            others = (_parts(row, keys, other) for other in self.tensors)
            if match.number < max(other.number for other in others if other):
                return None
        return match

    def _sibling(self, match: _Match, name: str) -> str:
        """The key of a tensor beside another, as the argument has it."""
        return match.path + name + ("" if self.back else match.row.suffix)

    def _stored_shape(self, match: _Match, shape: tuple[int, ...]) -> tuple[int, ...]:
        return match.row.stored_shape(shape) if self.back else shape

    def _conversion(self, match: _Match, key: str, dotted: str) -> Conversion:
        row, tensor = match.row, self.tensors[dotted]
        name = match.path + match.name
        if self.back:
            name = (name + row.suffix).replace(".", self.family.separator)
        if row.scale is None:
            return Conversion.alone(key, name, tensor, row.why)
        flip = row.flip if isinstance(row.flip, bool) else match.number >= self.facts[row.flip]
        shape = tuple(tensor.shape)
        if row.scale.beside:
            sibling = self.tensors.get(self._sibling(match, row.scale.beside))
            if sibling is None:
                problem = f"has no '{row.scale.beside}' beside it"
                raise UnfitTensor(key, shape, problem, "one, whose c it is in")
            shape = tuple(sibling.shape)
        scale = row.scale.value(self._stored_shape(match, shape), self.facts)
        return Conversion.scaled(key, name, tensor, scale, row.why, order=row.order, flip=flip)


@cache
def _compiled(rows: tuple[Row, ...], prefix: str, back: bool) -> list[tuple[Row, re.Pattern[str]]]:
    """The rows with the patterns of their stored keys, or of their plain names."""
    compiled = []
    for row in rows:
        path, name = split_name(row.keys)
        numbered = pattern(path).replace(r"(?:\d+)", r"(?P<number>\d+)", 1)
        keys = f"(?P<path>{pattern(prefix)}{numbered})(?P<name>{pattern(name)})"
        compiled.append((row, re.compile(keys + ("" if back else re.escape(row.suffix)))))
    return compiled


@cache
def _union(patterns: tuple[re.Pattern[str], ...]) -> re.Pattern[str]:
    """What any of the patterns matches, in one go, since most keys are of other families."""
    return re.compile("|".join(re.sub(r"\?P<\w+>", "?:", keys.pattern) for keys in patterns))


def _parts(row: Row, keys: re.Pattern[str], key: str) -> _Match | None:
    """The parts of a key, if the row knows it."""
    parts = keys.fullmatch(key)
    if parts is None:
        return None
    return _Match(row, parts["path"], parts["name"], int(parts.groupdict().get("number") or 0))


def first_row(rows: tuple[Row, ...], prefix: str, key: str) -> Row | None:
    """The first row whose stored name a key has."""
    return next((row for row, keys in _compiled(rows, prefix, False) if keys.fullmatch(key)), None)


def known_keys(state: Mapping[str, Tensor], family: Family) -> int:
    """How many keys of a file the table of a family knows that knows most."""
    tables = family.tables
    return max(Reading(state, family, table, {}, back=False).known() for table in tables)
