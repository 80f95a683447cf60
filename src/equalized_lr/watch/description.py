"""`describe`: every weight of a model, its fan, its constant, its spread, and what looks odd."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from equalized_lr.arguments import positive, refuse_non_module
from equalized_lr.errors import EqualizedLRError, NothingToEqualize
from equalized_lr.plan.left_alone import is_norm
from equalized_lr.plan.scales import he_scales, translate_lr
from equalized_lr.plan.slots import Fans, Slot, named_slots, slots_of
from equalized_lr.tensors import is_dtensor
from equalized_lr.watch.notes import Notes
from equalized_lr.watch.report import Report

RATE = 1e-3  # the plain rate that the foot translates


class Line(NamedTuple):
    """One weight.

    Attributes:
        name: its plain qualified name.
        layer: the class of its layer.
        shape: its shape.
        fan: the connections into one response, if they are known.
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

    heads = ("weight", "layer", "shape", "fan", "c", "stored", "std", "note")
    attributes = ("name", "layer", "shape", "fan", "scale", "stored_std", "std", "note")


def describe(
    module: nn.Module,
    *,
    scales: Mapping[str, float] | None = None,
    fans: Fans | None = None,
) -> Description:
    """Lists the weights of a model: which are equalized, by how much, and how they are spread.

    Example:
        >>> net = nn.Sequential(nn.Embedding(9, 200), nn.Linear(200, 50), nn.Linear(50, 2))
        >>> with torch.no_grad():
        ...     _ = net[0].weight.copy_(torch.eye(9, 200))
        ...     _ = equalize_lr(net[1]).weight_orig.copy_(torch.eye(50, 200))
        ...     _ = net[2].weight.zero_()
        >>> describe(net)
        weight    layer      shape   fan  c    stored  std      note
        0.weight  Embedding  9x200   -    -    -       0.0706   [1]
        1.weight  Linear     50x200  200  0.1  0.0705  0.00705  stored std far from 1
        2.weight  Linear     2x50    50   0.2  0       0        [2]
        [1] left alone: an embedding; std 0.0706: 14.2 times as fast as equalized ones
        [2] plain; zeros, which init="normal" draws anew
        The equalized lr is Adam's relative step: 0.001 moves a weight by 0.1% a step.
        A plain lr of 0.001 becomes 0.00707 (translate_lr).
        Not listed, with less than two axes: 2 others.

    Args:
        module: plain, equalized or mixed, on any device; on the meta device the spreads are empty.
        scales: the c of plain weights in the implicit form; `he_scales(module)` if left out.
        fans: for weights by their plain qualified names, what `observe` has found, or a number;
            it goes before what is known of their layers.

    Returns:
        One line for each parameter of two or more axes, and for each that is equalized. A
        sequence, with a table in a terminal and in a notebook. The table ends with what learning
        rates mean for this model, and, where `equalize_lr` would refuse it, with the reason.

    Raises:
        NotAModule: something else was given.
        InvalidArgument: `scales` or `fans` name no parameter of the module, or are not positive.
    """
    refuse_non_module(module)
    slots = [slot for slot in slots_of(module, fans) if slot.find() is not None]
    named_slots(module, "scales", scales or {})
    for name, scale in (scales or {}).items():
        positive(f"scales[{name!r}]", scale)
    refusal = []
    implicit = scales is not None
    if scales is None:
        try:
            scales = he_scales(module, fans=fans)
        except EqualizedLRError as error:
            scales = {}
            refusal.append(f"equalize_lr would refuse this model: {error}")
    listed = list(filter(_is_listed, slots))
    constants = {s.qualified_name: s.scale or scales.get(s.qualified_name) for s in listed}
    notes = Notes(listed, constants, implicit=implicit, observed=fans is not None)
    lines = [_line(slot, constants[slot.qualified_name], notes) for slot in listed]
    return Description(lines, _rates(module, constants) + _rest(slots) + refusal)


def _is_listed(slot: Slot) -> bool:
    is_matrix = slot.parameter.ndim >= 2  # a lazy one has one axis
    return is_matrix or slot.scale is not None or slot.fan is not None


def _line(slot: Slot, scale: float | None, notes: Notes) -> Line:
    tensor, equalized = slot.parameter, slot.scale is not None
    std = _std(tensor)
    stored, effective = None, std
    if std is not None and scale is not None:
        stored, effective = (std, std * scale) if equalized else (std / scale, std)
    return Line(
        name=slot.qualified_name,
        layer=type(slot.module).__name__,
        shape=() if is_lazy(tensor) else tuple(tensor.shape),
        fan=slot.fan and slot.fan.fan_in,
        scale=scale,
        equalized=equalized,
        stored_std=stored,
        std=effective,
        note="; ".join(filter(None, notes.of(slot, std))),
    )


def _std(tensor: Tensor) -> float | None:
    if is_lazy(tensor) or tensor.is_meta or not (tensor.is_floating_point() or tensor.is_complex()):
        return None
    if tensor.layout is not torch.strided or tensor.numel() < 2:
        return None
    values = tensor.detach()
    if is_dtensor(values):
        values = values.full_tensor()  # type: ignore[attr-defined]
    return float(values.to(torch.complex64 if values.is_complex() else torch.float32).std())


def _rates(module: nn.Module, constants: Mapping[str, float | None]) -> list[str]:
    scales = {name: scale for name, scale in constants.items() if scale is not None}
    try:
        rate = translate_lr(module, RATE, scales=scales)
    except NothingToEqualize:
        return []
    return [
        f"The equalized lr is Adam's relative step: {RATE:g} moves a weight by {RATE:.1%} a step.",
        f"A plain lr of {RATE:g} becomes {rate:.3g} (translate_lr).",
    ]


def _rest(slots: Sequence[Slot]) -> list[str]:
    """How many parameters have no line: nothing is left out without a word."""
    rest = [slot.module for slot in slots if not _is_listed(slot)]
    norms = sum(map(is_norm, rest))
    counts = ((norms, "of norms"), (len(rest) - norms, "others"))
    parts = [f"{count} {what}" for count, what in counts if count]
    return [f"Not listed, with less than two axes: {' and '.join(parts)}."] if rest else []
