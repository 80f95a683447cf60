"""From names to Parameters: which ones an optimizer trains in their effective form, and their c."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn

from equalized_lr.errors import ConflictingTie, InvalidArgument
from equalized_lr.plan.scales import he_scales
from equalized_lr.plan.slots import slots_of


def scales_by_parameter(
    module: nn.Module, scales: Mapping[str, float] | None
) -> dict[Tensor, float]:
    """c of each plain Parameter that `scales` names, or `he_scales` if it is None.

    Equalized weights are stored ones already and are not in the result; a scale that is given for
    one must be the c in force.
    """
    scales = he_scales(module) if scales is None else scales
    slots = {slot.qualified_name: slot for slot in slots_of(module, every_path=True)}
    plain: dict[Tensor, tuple[str, float]] = {}
    for name, c in scales.items():
        slot = slots.get(name)
        if slot is None:
            raise InvalidArgument("scales", name, "plain names of the module's parameters")
        if isinstance(c, bool) or not (math.isfinite(c) and c > 0):
            raise InvalidArgument(f"scales[{name!r}]", c, "a positive finite number")
        in_force = slot.scale
        if in_force is not None:
            if in_force != c:
                raise InvalidArgument(f"scales[{name!r}]", c, f"the c in force, {in_force!r}")
            continue
        other = plain.setdefault(slot.parameter, (str(slot), c))
        if other[1] != c:
            raise ConflictingTie([other, (str(slot), c)])
    return {parameter: c for parameter, (_, c) in plain.items()}
