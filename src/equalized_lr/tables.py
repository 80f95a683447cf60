"""Tables of a checkpoint in plain text, 80 columns wide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from equalized_lr.checkpoint.engine import Step

WIDTHS = (36, 14)


def steps_table(steps: Sequence[Step], *, back: bool) -> str:
    """What was scaled and by how much, and what was left alone and why."""
    rows = [(s.key, _shape(s.shape), _factor(s, back), s.why) for s in steps]
    scaled = sum(step.scale is not None for step in steps)
    counts = f"{scaled} scaled, {len(steps) - scaled} left alone"
    return "\n".join([*_lines(("key", "shape", "factor", "what"), rows), counts])


def tensors_table(state: Mapping[str, Tensor]) -> str:
    """Names, shapes and standard deviations."""
    rows = [
        (key, _shape(tensor.shape), _deviation(tensor), str(tensor.dtype).removeprefix("torch."))
        for key, tensor in state.items()
    ]
    return "\n".join(_lines(("key", "shape", "std", "dtype"), rows))


def _lines(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    left, middle = WIDTHS
    return [
        f"{_short(key, left):<{left}} {_short(shape, middle):<{middle}} {number:>9} {what}"[:80]
        for key, shape, number, what in (heads, *rows)
    ]


def _factor(step: Step, back: bool) -> str:
    if step.scale is None:
        return "-"
    return f"{1 / step.scale if back else step.scale:.6g}"


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "number"


def _short(text: str, width: int) -> str:
    """The text, in ASCII, without its middle if it is too long."""
    text = text.encode("ascii", "backslashreplace").decode()
    if len(text) <= width:
        return text
    end = (width - 2) * 2 // 3
    return f"{text[: width - 2 - end]}..{text[-end:]}"


def _deviation(tensor: Tensor) -> str:
    if tensor.numel() < 2 or tensor.layout is not torch.strided or tensor.is_quantized:
        return "-"
    if not (tensor.is_floating_point() or tensor.dtype in (torch.int32, torch.int64)):
        return "-"
    return f"{float(tensor.double().std()):.4g}"
