"""Tables of a checkpoint in plain text, 80 columns wide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from equalized_lr.checkpoint.conversion import Conversion

WIDTHS = (36, 14)


class Explanation(list[Conversion]):
    """What a conversion does to each tensor; its text is a table of that."""

    def __init__(self, conversions: Iterable[Conversion], *, back: bool) -> None:
        super().__init__(conversions)
        self._back = back

    def __repr__(self) -> str:
        rows = [(c.key, _shape(c.shape), self._factor(c), c.why) for c in self]
        scaled = sum(conversion.scale is not None for conversion in self)
        counts = f"{scaled} scaled, {len(self) - scaled} left alone"
        return "\n".join([*_lines(("key", "shape", "factor", "what"), rows), counts])

    def _factor(self, conversion: Conversion) -> str:
        if conversion.scale is None:
            return "-"
        return f"{1 / conversion.scale if self._back else conversion.scale:.6g}"


def tensors_table(tensors: Mapping[str, Tensor]) -> str:
    """Names, shapes and standard deviations."""
    rows = [
        (key, _shape(tensor.shape), _deviation(tensor), str(tensor.dtype).removeprefix("torch."))
        for key, tensor in tensors.items()
    ]
    return "\n".join(_lines(("key", "shape", "std", "dtype"), rows))


def in_ascii(text: str) -> str:
    """The text on one line that every terminal can show."""
    return text.encode("unicode_escape").decode().replace("\\\\", "\\")


def _lines(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    left, middle = WIDTHS
    return [
        f"{_short(key, left):<{left}} {_short(shape, middle):<{middle}} {number:>9} {what}"[:80]
        for key, shape, number, what in (heads, *rows)
    ]


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "number"


def _short(text: str, width: int) -> str:
    """The text without its middle if it is too long."""
    text = in_ascii(text)
    if len(text) <= width:
        return text
    end = (width - 2) * 2 // 3
    return f"{text[: width - 2 - end]}..{text[-end:]}"


def _deviation(tensor: Tensor) -> str:
    if tensor.numel() < 2 or tensor.layout is not torch.strided or tensor.is_quantized:
        return "-"
    if not (tensor.is_floating_point() or tensor.dtype in (torch.int32, torch.int64)):
        return "-"
    if tensor.is_meta:
        return "-"
    return f"{float(tensor.double().std()):.4g}"
