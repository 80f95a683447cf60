"""What is worth a remark about a weight: why it is left alone, and what looks odd."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from equalized_lr.plan.fan import Fan
from equalized_lr.plan.left_alone import computes_its_own_way, is_look_up, is_norm

FAR = 3.0  # how many times as large or small counts as far


class Facts(NamedTuple):
    """What is known of one weight before anything is said about it.

    Attributes:
        name: its plain qualified name.
        layer: the module that holds it.
        tensor: the Parameter: stored if equalized, else plain.
        fan: its connections, if they are known.
        scale: the constant c, in force or as it would be, or None.
        equalized: whether c is in force.
        is_bias: whether it is the bias of an equalized weight.
        lr_mul: that of its layer.
        std: the standard deviation of the tensor's values, if there are any.
    """

    name: str
    layer: nn.Module
    tensor: Tensor
    fan: Fan | None
    scale: float | None
    equalized: bool
    is_bias: bool
    lr_mul: float
    std: float | None

    @property
    def gain(self) -> float | None:
        """gain * lr_mul, as c has it."""
        return self.scale * math.sqrt(self.fan.fan_in) if self.scale and self.fan else None


def usual_gain(weights: Sequence[Facts]) -> float:
    """The median of gain * lr_mul over all weights."""
    gains = [weight.gain for weight in weights if weight.gain is not None]
    return statistics.median(gains) if gains else 1.0


def note_of(weight: Facts, usual: float, *, equalized_beside: bool, observed: bool) -> str:
    """The remarks about one weight.

    Args:
        weight: what is known of it.
        usual: the usual gain * lr_mul of the model.
        equalized_beside: whether rates are those of equalized weights.
        observed: whether fans were observed, so that others are known to be not contracted.
    """
    if weight.scale is None and weight.fan is None:
        remarks = [f"left alone: {_reason(weight, observed=observed)}"]
        if equalized_beside and weight.std and 0 < weight.std < 1 / FAR:
            speed = f"{1 / weight.std:.3g} times as fast as equalized ones"
            remarks.append(f"std {weight.std:.3g}: {speed}")
        return "; ".join(remarks)
    remarks = [*_own_forward(weight, observed=observed), *_spread(weight)]
    if weight.gain is not None and not 1 / FAR < weight.gain / usual < FAR:
        remarks.append(f"gain * lr_mul is {weight.gain:.3g}, of most layers {usual:.3g}")
    return "; ".join(remarks if weight.equalized else ["plain", *remarks])


def _reason(weight: Facts, *, observed: bool) -> str:
    if is_look_up(weight.layer):
        return "an embedding"
    if is_norm(weight.layer):
        return "a norm"
    if observed:
        return "not contracted: fans= does not name it"
    return f"no known fan; fans=observe(model, x) finds it, or fans.register({_kind(weight)})"


def _own_forward(weight: Facts, *, observed: bool) -> list[str]:
    """A layer that the table knows by its class, but that need not compute as its class does."""
    if observed or not computes_its_own_way(weight.layer):
        return []
    return [f"{_kind(weight)} has a forward of its own: check with observe(model, x)"]


def _kind(weight: Facts) -> str:
    return type(weight.layer).__name__


def _spread(weight: Facts) -> list[str]:
    std = weight.std
    if std is None or weight.is_bias:
        return []
    if not math.isfinite(std):
        return ["not finite"]
    if std == 0:
        zeros = not weight.tensor.any()
        if zeros and not weight.equalized:
            return ['zeros, which init="normal" draws anew']
        return ["zeros" if zeros else "all values are equal"]
    if weight.equalized:
        far = not 1 / FAR < std * weight.lr_mul < FAR
        one = "1" if weight.lr_mul == 1 else f"{1 / weight.lr_mul:.3g}"
        return [f"stored std far from {one}"] if far else []
    return _plain_spread(std, weight.fan)


def _plain_spread(std: float, fan: Fan | None) -> list[str]:
    """He et al. 2015 have two rules, for responses and for gradients; either will do."""
    if fan is None:
        return []
    ratios = [std * math.sqrt(fan_of / 2) for fan_of in (fan.fan_in, fan.fan_out) if fan_of > 0]
    if not ratios or any(1 / FAR < ratio < FAR for ratio in ratios):
        return []
    return [f"std is {ratios[0]:.3g} times He's"]
