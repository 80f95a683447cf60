"""From names to Parameters: which ones an optimizer trains in their effective form, and their c."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from equalized_lr.arguments import positive
from equalized_lr.errors import ConflictingTie, InvalidArgument
from equalized_lr.plan.scales import he_scales
from equalized_lr.plan.slots import named_slots


def scales_by_parameter(
    module: nn.Module, scales: Mapping[str, float] | None
) -> dict[Tensor, float]:
    """c of each plain Parameter that `scales` names, or `he_scales` if it is None.

    Equalized weights are stored ones already and are not in the result; a scale that is given for
    one must be the c in force.
    """
    scales = he_scales(module) if scales is None else scales
    slots = named_slots(module, "scales", scales)
    plain: dict[Tensor, tuple[str, float]] = {}
    for name, number in scales.items():
        slot, c = slots[name], positive(f"scales[{name!r}]", number)
        if slot.scale is None:
            first = plain.setdefault(slot.parameter, (str(slot), c))
            if first[1] != c:
                raise ConflictingTie([first, (str(slot), c)])
        elif slot.scale != c:
            raise InvalidArgument(f"scales[{name!r}]", c, f"the c in force, {slot.scale!r}")
    return {parameter: c for parameter, (_, c) in plain.items()}
