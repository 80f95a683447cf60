"""`describe`: every weight of a model, its fan, its constant, its spread, and what looks odd."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from equalized_lr.arguments import refuse_non_module
from equalized_lr.errors import EqualizedLRError
from equalized_lr.layer.hook import scales_of
from equalized_lr.plan.scales import he_scales
from equalized_lr.plan.slots import bias_of, slots_of
from equalized_lr.tensors import is_dtensor
from equalized_lr.watch.report import Report, number_text, shape_text

FAR = 3.0  # how many times as large or small counts as far
HEADS = ("weight", "layer", "shape", "fan", "c", "stored std", "std", "note")


class Line(NamedTuple):
    """One weight.

    Attributes:
        name: its plain qualified name.
        layer: the class of its layer.
        shape: its shape.
        fan: the connections into one response, if `fans` knows them.
        scale: the constant c, in force or as it would be; None for a weight that is left alone.
        equalized: whether the layer computes it from a stored weight.
        stored_std: the standard deviation of w, if there are values.
        std: that of the effective weight.
        note: why it is left alone, or what a practitioner would want to know.
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    fan: float | None
    scale: float | None
    equalized: bool
    stored_std: float | None
    std: float | None
    note: str


class Description(Report[Line]):
    """The lines of `describe`: rows for programs, a table in a terminal and in a notebook."""

    heads = HEADS

    def cells(self, row: Line) -> tuple[str, ...]:
        """The texts of one line."""
        numbers = map(number_text, (row.fan, row.scale, row.stored_std, row.std))
        return row.name, row.layer, shape_text(row.shape), *numbers, row.note


def describe(module: nn.Module, *, scales: Mapping[str, float] | None = None) -> Description:
    """Lists the weights of a model: which are equalized, by how much, and how they are spread.

    Example:
        >>> net = nn.Sequential(nn.Linear(200, 50), nn.LayerNorm(50), nn.Linear(50, 2))
        >>> with torch.no_grad():
        ...     _ = equalize_lr(net[0]).weight_orig.copy_(torch.eye(50, 200))
        ...     _ = net[2].weight.fill_(0.5)
        >>> describe(net)
        weight    layer      shape   fan  c    stored std  std      note
        0.weight  Linear     50x200  200  0.1  0.0705      0.00705  stored std far from 1
        1.weight  LayerNorm  50      -    -    -           0        left alone: no known fan
        2.weight  Linear     2x50    50   0.2  0           0        plain; all values are equal

    Args:
        module: plain, equalized or mixed, on any device; on the meta device the spreads are empty.
        scales: for plain weights, the c that they have in the implicit form; `he_scales(module)`
            if left out.

    Returns:
        One line for each parameter that is called a weight, and for each that is equalized. A
        sequence, with a table in a terminal and in a notebook.

        Where `equalize_lr` would refuse the model, its reason stands below the table.

    Raises:
        NotAModule: something else was given.
    """
    refuse_non_module(module)
    refusal = ""
    if scales is None:
        try:
            scales = he_scales(module)
        except EqualizedLRError as error:
            scales, refusal = {}, f"equalize_lr would refuse this model: {error}"
    return Description(_noted(list(_lines(module, scales))), refusal)


def _lines(module: nn.Module, scales: Mapping[str, float]) -> Iterator[Line]:
    for slot in slots_of(module):
        tensor = slot.find()
        if tensor is None or ("weight" not in slot.name and slot.scale is None):
            continue
        scale = scales.get(slot.qualified_name) if slot.scale is None else slot.scale
        std = _std(tensor)
        plain, raw = std, None if std is None or scale is None else std / scale
        if slot.scale is not None:
            plain, raw = (None if std is None else std * slot.scale), std
        bias = bias_of(slot) if slot.fan else None
        lr_mul = scales_of(slot.module).get(bias, 1.0) if bias else 1.0
        line = Line(
            name=slot.qualified_name,
            layer=type(slot.module).__name__,
            shape=() if is_lazy(tensor) else tuple(tensor.shape),
            fan=slot.fan.fan_in if slot.fan else None,
            scale=scale,
            equalized=slot.scale is not None,
            stored_std=raw,
            std=plain,
            note="",
        )
        yield line._replace(note=_note(line, lr_mul))


def _std(tensor: Tensor) -> float | None:
    if is_lazy(tensor) or tensor.is_meta or not (tensor.is_floating_point() or tensor.is_complex()):
        return None
    if tensor.layout is not torch.strided or tensor.numel() < 2:
        return None
    values = tensor.detach()
    if is_dtensor(values):
        values = values.full_tensor()  # type: ignore[attr-defined]
    return float(values.to(torch.complex64 if values.is_complex() else torch.float32).std())


def _note(line: Line, lr_mul: float) -> str:
    if line.scale is None:
        return "left alone: no known fan" if line.fan is None else "plain"
    notes = [] if line.equalized else ["plain"]
    std = line.stored_std
    if std is not None and "weight" in line.name.rpartition(".")[2]:
        if not math.isfinite(std):
            notes.append("not finite")
        elif std == 0:
            notes.append("all values are equal")
        elif not 1 / FAR < std * lr_mul < FAR:
            far = "1" if lr_mul == 1 else f"{1 / lr_mul:.3g}"
            notes.append(f"stored std far from {far}")
    return "; ".join(notes)


def _noted(lines: list[Line]) -> list[Line]:
    """Adds what only a comparison of all lines can tell: a constant far from the others'."""
    gains = [_gain(line) for line in lines]
    known = [gain for gain in gains if gain is not None]
    usual = statistics.median(known) if known else 1.0
    noted = []
    for line, gain in zip(lines, gains, strict=True):
        if gain is not None and not 1 / FAR < gain / usual < FAR:
            more = f"gain * lr_mul is {gain:.3g}, of most layers {usual:.3g}"
            noted.append(line._replace(note="; ".join(filter(None, (line.note, more)))))
        else:
            noted.append(line)
    return noted


def _gain(line: Line) -> float | None:
    if line.scale is None or line.fan is None:
        return None
    return line.scale * math.sqrt(line.fan)
