"""Rows for programs that print as a table, in a terminal and in a notebook."""

import html
import textwrap
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

R = TypeVar("R", bound=tuple[Any, ...])

COLUMNS = 80
LEAST_NAME, LEAST_LAYER, LEAST_NOTE = 22, 10, 12  # columns that are not shortened
GAP = "  "


class Report(list[R]):
    """A list of named tuples with a table as its text.

    Attributes:
        heads: of the columns: first a name, then the class of a layer, at last a note.
        attributes: what of a row stands in each column.
    """

    heads: ClassVar[tuple[str, ...]]
    attributes: ClassVar[tuple[str, ...]]

    def __init__(self, rows: Sequence[R], foot: Sequence[str] = ()) -> None:
        super().__init__(rows)
        self._foot = list(foot)

    def cells(self, row: R) -> list[str]:
        """The texts of one row."""
        return [_text(getattr(row, attribute)) for attribute in self.attributes]

    def __repr__(self) -> str:
        rows, footnotes = within_width([self.heads, *map(self.cells, self)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        padded = (zip(row, widths, strict=True) for row in rows)
        lines = [GAP.join(f"{cell:<{w}}" for cell, w in row).rstrip() for row in padded]
        for text in [*footnotes, *self._foot]:
            lines += textwrap.wrap(text, COLUMNS, break_long_words=False, break_on_hyphens=False)
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = [[html.escape(cell) for cell in self.cells(row)] for row in self]
        head = "".join(f"<th>{cell}</th>" for cell in self.heads)
        body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
        foot = "".join(f"<p>{html.escape(text)}</p>" for text in self._foot)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{foot}"


def _text(value: str | tuple[int, ...] | float | None) -> str:
    """Shapes as 3x4, numbers with three digits, and a dash for what there is not."""
    if isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return "x".join(map(str, value)) or "-"
    return "-" if value is None else f"{value:.3g}"


def within_width(rows: Sequence[Sequence[str]]) -> tuple[list[list[str]], list[str]]:
    """The rows in `COLUMNS` columns, and the notes that had to become footnotes.

    Names and layers are shortened; notes that are too long are given numbers, each text once.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    name, layer, *numbers, _ = widths
    room = COLUMNS - sum(numbers) - len(GAP) * (len(widths) - 1)
    longest = max(room - min(name, LEAST_NAME) - min(layer, LEAST_LAYER), LEAST_NOTE)
    long_notes = dict.fromkeys(row[-1] for row in rows if len(row[-1]) > longest)
    marks = {text: f"[{number}]" for number, text in enumerate(long_notes, 1)}
    notes = [marks.get(row[-1], row[-1]) for row in rows]
    room -= max(map(len, notes))
    layer = min(layer, max(room - name, LEAST_LAYER))
    table = [
        [short_name(row[0], room - layer), without_middle(row[1], layer), *row[2:-1], note]
        for row, note in zip(rows, notes, strict=True)
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
    rest = max(width - 2, 0)
    end = rest * 2 // 3
    return f"{text[: rest - end]}..{text[len(text) - end :]}"
