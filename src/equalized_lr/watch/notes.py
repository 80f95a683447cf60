"""What is worth a remark about a weight: why it is left alone, and what looks odd."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

from equalized_lr.layer.hook import scales_of
from equalized_lr.plan.left_alone import computes_its_own_way, is_look_up, is_norm
from equalized_lr.plan.slots import Slot, bias_of

FAR = 3.0  # how many times as large or small counts as far


class Notes:
    """The remarks about the weights of one model, whose c are in force or as they would be."""

    def __init__(
        self,
        slots: Sequence[Slot],
        scales: Mapping[str, float | None],
        *,
        implicit: bool,
        observed: bool,
    ) -> None:
        equalized = [slot for slot in slots if slot.scale is not None]
        self._biases = {(slot.path, bias_of(slot)) for slot in equalized}
        self._rates_are_equalized = implicit or bool(equalized)
        self._scales, self._observed = scales, observed
        self._usual_gain = statistics.median(list(filter(None, map(self._gain, slots))) or [1.0])

    def of(self, slot: Slot, std: float | None) -> Iterator[str]:
        """All that is to be said about one weight, the stored one of which is spread by `std`."""
        if self._scales[slot.qualified_name] is None and slot.fan is None:
            yield f"left alone: {self._reason(slot)}"
            if self._rates_are_equalized and std and std < 1 / FAR:
                yield f"std {std:.3g}: {1 / std:.3g} times as fast as equalized ones"
            return
        if slot.scale is None:
            yield "plain"
        if computes_its_own_way(slot.module) and not self._observed:
            kind = type(slot.module).__name__
            yield f"{kind} has a forward of its own: check with observe(model, x)"
        if std is not None and (slot.path, slot.name) not in self._biases:
            yield _spread(slot, std)
        gain = self._gain(slot)
        if gain and _is_far(gain / self._usual_gain):
            yield f"gain * lr_mul is {gain:.3g}, of most layers {self._usual_gain:.3g}"

    def _reason(self, slot: Slot) -> str:
        if is_look_up(slot.module):
            return "an embedding"
        if is_norm(slot.module):
            return "a norm"
        if self._observed:
            return "not contracted: fans= does not name it"
        kind = type(slot.module).__name__
        return f"no known fan; fans=observe(model, x) finds it, or fans.register({kind})"

    def _gain(self, slot: Slot) -> float | None:
        """gain * lr_mul, as c has it."""
        scale = self._scales[slot.qualified_name]
        return scale * math.sqrt(slot.fan.fan_in) if scale and slot.fan else None


def _spread(slot: Slot, std: float) -> str:
    if not math.isfinite(std):
        return "not finite"
    if std == 0 and slot.parameter.any():
        return "all values are equal"
    if std == 0:
        return "zeros" if slot.scale is not None else 'zeros, which init="normal" draws anew'
    if slot.scale is not None:
        lr_mul = scales_of(slot.module).get(bias_of(slot) or "", 1.0)
        return f"stored std far from {1 / lr_mul:.3g}" if _is_far(std * lr_mul) else ""
    # He et al. 2015 have two rules, for responses and for gradients; either will do.
    fans = (slot.fan.fan_in, slot.fan.fan_out) if slot.fan else ()
    ratios = [std * math.sqrt(fan / 2) for fan in fans if fan > 0]
    return f"std is {ratios[0]:.3g} times He's" if ratios and all(map(_is_far, ratios)) else ""


def _is_far(ratio: float) -> bool:
    return not 1 / FAR < ratio < FAR
