"""The numbers: multiplied or divided by their constants, in the order of the axes wanted."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from equalized_lr.checkpoint.engine import Step
from equalized_lr.errors import ConflictingTie, UnscalableValues


@torch.no_grad()
def follow(state: Mapping[str, Tensor], steps: list[Step], *, back: bool) -> dict[str, Tensor]:
    """The tensors that the steps lead to. Ties stay ties; what is scaled is in new memory."""
    result: dict[str, Tensor] = {}
    made: dict[object, tuple[Step, Tensor]] = {}
    for step in steps:
        tensor = state[step.key].detach()
        if not step.name:
            continue
        if step.scale is None:
            result[step.name] = tensor
            continue
        place = _place(tensor)
        if place not in made:
            made[place] = step, _converted(tensor, step, step.scale, back)
        first, result[step.name] = made[place]
        if (first.scale, first.row.order, first.flip) != (step.scale, step.row.order, step.flip):
            scales = [(f"'{s.key}'", s.scale) for s in (first, step) if s.scale is not None]
            raise ConflictingTie(scales)
        if back and step.row.scale is not None and step.row.scale.saved:
            path, dot, _ = step.name.rpartition(".")
            constant = torch.tensor(step.scale, dtype=tensor.dtype)
            result[path + dot + step.row.scale.saved] = constant
    return result


def _place(tensor: Tensor) -> object:
    """What two tensors have in common only if they are one."""
    storage = tensor.untyped_storage()._cdata
    return storage, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype


def _converted(tensor: Tensor, step: Step, scale: float, back: bool) -> Tensor:
    value = tensor / scale if back else tensor * scale
    if not value.is_meta and not torch.equal(value.isfinite(), tensor.isfinite()):
        raise UnscalableValues(step.key, scale, str(tensor.dtype), back)
    if step.row.order and not back:
        value = value.permute(step.row.order)
    if step.flip:
        value = value.flip(-2, -1)
    if step.row.order and back:
        value = value.permute([step.row.order.index(axis) for axis in range(value.dim())])
    return value.contiguous() if step.row.order else value
