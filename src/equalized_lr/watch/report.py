"""Rows for programs that print as a table, in a terminal and in a notebook."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar

R = TypeVar("R", bound=tuple[Any, ...])

COLUMNS = 80
LEAST_NAME, LEAST_LAYER, LEAST_NOTE = 22, 10, 12  # columns that are not shortened
GAP = "  "


class Report(Sequence[R], Generic[R]):
    """A sequence of named tuples with a table as its text.

    The first cell of each row is a name, the second one the class of a layer, the last one a note.
    """

    heads: ClassVar[tuple[str, ...]]

    def __init__(self, rows: Sequence[R], foot: Sequence[str] = ()) -> None:
        self._rows, self._foot = list(rows), list(foot)

    def cells(self, row: R) -> tuple[str, ...]:
        """The texts of one row."""
        raise NotImplementedError

    def __getitem__(self, index: int) -> R:  # type: ignore[override]
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        rows, footnotes = within_width([self.heads, *map(self.cells, self._rows)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        padded = (zip(row, widths, strict=True) for row in rows)
        lines = [GAP.join(f"{cell:<{w}}" for cell, w in row).rstrip() for row in padded]
        for text in [*footnotes, *self._foot]:
            lines += textwrap.wrap(text, COLUMNS, break_long_words=False, break_on_hyphens=False)
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = [[html.escape(cell) for cell in self.cells(row)] for row in self._rows]
        head = "".join(f"<th>{cell}</th>" for cell in self.heads)
        body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
        foot = "".join(f"<p>{html.escape(text)}</p>" for text in self._foot)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{foot}"


def within_width(rows: Sequence[Sequence[str]]) -> tuple[list[list[str]], list[str]]:
    """The rows in `COLUMNS` columns, and the notes that had to become footnotes.

    Names and layers are shortened; notes that are too long are given numbers, each text once.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    names, layers, *numbers, note = widths
    room = COLUMNS - sum(numbers) - len(GAP) * (len(widths) - 1)
    if names + layers + note > room:
        least = min(names, LEAST_NAME) + min(layers, LEAST_LAYER)
        note = max(room - least, LEAST_NOTE)
    long_notes = dict.fromkeys(row[-1] for row in rows if len(row[-1]) > note)
    marks = {text: f"[{number}]" for number, text in enumerate(long_notes, 1)}
    room -= max(len(marks.get(row[-1], row[-1])) for row in rows)
    layers = min(layers, max(room - names, LEAST_LAYER))
    table = [
        [
            short_name(row[0], max(room - layers, 1)),
            without_middle(row[1], layers),
            *row[2:-1],
            marks.get(row[-1], row[-1]),
        ]
        for row in rows
    ]
    return table, [f"{mark} {text}" for text, mark in marks.items()]


def short_name(name: str, width: int) -> str:
    """A qualified name whose modules are shortened to initials from the left, until it fits."""
    parts = name.split(".")
    for index, part in enumerate(parts[:-1]):
        if len(".".join(parts)) > width and not part.isdigit():
            parts[index] = part[:1]
    return without_middle(".".join(parts), width)


def without_middle(text: str, width: int) -> str:
    """The text, or its beginning and its end, which tells more, if it is too long."""
    if len(text) <= width:
        return text
    end = max(width - 2, 0) * 2 // 3
    return f"{text[: max(width - 2 - end, 0)]}..{text[len(text) - end :]}"


def shape_text(shape: Sequence[int]) -> str:
    """A shape as tables have it, 3x4."""
    return "x".join(map(str, shape)) or "-"


def number_text(number: float | None) -> str:
    """Three digits, or a dash."""
    return "-" if number is None else f"{number:.3g}"
