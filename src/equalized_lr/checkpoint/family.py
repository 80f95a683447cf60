"""A code base whose checkpoints can be converted."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from equalized_lr.checkpoint.conversion import Conversion
from equalized_lr.checkpoint.rows import Facts, Row, pattern
from equalized_lr.checkpoint.state import State


def _only_table(state: Mapping[str, Tensor], plain: bool) -> str:
    return ""


@dataclass(frozen=True)
class Family:
    """A code base, by the tables of its checkpoints, or by a function that reads them.

    Attributes:
        name: as `families()` lists it.
        source: where the rules were read.
        tables: the rows, first match first; more than one table where architectures share names.
        facts: what a file does not hold, with the code base's default.
        prefix: what may stand before every key, as a pattern.
        separator: what stands between the parts of a key.
        variant: the name of the fact that picks the table, if there are several.
        detect: picks the table from a state_dict (the flag says that it is a plain one), or
            returns None if it cannot tell.
        sign: what only files of this family have, where another has all of its other names.
        converter: what reads the file (or, by the flag, a plain one), if there is no table.
        share: with a converter, the share of keys that tell the family.
        complete: adds to a stored state_dict what it says besides its weights.
    """

    name: str
    source: str
    tables: Mapping[str, tuple[Row, ...]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = "(module.)?"
    separator: str = "."
    variant: str = ""
    detect: Callable[[Mapping[str, Tensor], bool], str | None] = _only_table
    sign: str = ""
    converter: Callable[[State, Facts, bool], list[Conversion]] | None = None
    share: Callable[[State], float] | None = None
    complete: Callable[[State, Sequence[Conversion]], None] | None = None


def one_table(*rows: Row) -> dict[str, tuple[Row, ...]]:
    """The tables of a family that has only this one."""
    return {"": rows}


def by_names(
    signs: Mapping[str, str], *, first: bool = False
) -> Callable[[Mapping[str, Tensor], bool], str | None]:
    """Picks the table whose sign is in a key, the first or the only one."""
    patterns = {table: re.compile(pattern(sign)) for table, sign in signs.items()}

    def detect(state: Mapping[str, Tensor], plain: bool) -> str | None:
        keys = [key.replace("/", ".") for key in state]
        tables = [table for table, p in patterns.items() if any(map(p.search, keys))]
        return tables[0] if len(tables) == 1 or (tables and first) else None

    return detect
