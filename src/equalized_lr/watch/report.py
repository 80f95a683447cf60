"""Rows for programs that print as a table, in a terminal and in a notebook."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar

R = TypeVar("R", bound=tuple[Any, ...])


class Report(Sequence[R], Generic[R]):
    """A sequence of named tuples with a table as its text."""

    heads: ClassVar[tuple[str, ...]]

    def __init__(self, rows: Sequence[R], foot: str = "") -> None:
        self._rows, self._foot = list(rows), foot

    def cells(self, row: R) -> tuple[str, ...]:
        """The texts of one row."""
        raise NotImplementedError

    def __getitem__(self, index: int) -> R:  # type: ignore[override]
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        rows = [self.heads, *map(self.cells, self._rows)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        padded = (zip(row, widths, strict=True) for row in rows)
        lines = ["  ".join(f"{cell:<{w}}" for cell, w in row).rstrip() for row in padded]
        return "\n".join([*lines, self._foot] if self._foot else lines)

    def _repr_html_(self) -> str:
        rows = [[html.escape(cell) for cell in self.cells(row)] for row in self._rows]
        head = "".join(f"<th>{cell}</th>" for cell in self.heads)
        body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
        foot = f"<p>{html.escape(self._foot)}</p>" if self._foot else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{foot}"


def shape_text(shape: Sequence[int]) -> str:
    """A shape as tables have it, 3x4."""
    return "x".join(map(str, shape)) or "-"


def number_text(number: float | None) -> str:
    """Three digits, or a dash."""
    return "-" if number is None else f"{number:.3g}"
