"""From a fan to the constant c: He's rule, the gain, and the learning rate multiplier."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, SupportsFloat

from torch import nn

from equalized_lr.arguments import positive
from equalized_lr.errors import InvalidArgument
from equalized_lr.plan.fan import Fan
from equalized_lr.plan.gain import EXPECTED, Nonlinearity, gain_of

Gain = SupportsFloat | str | Nonlinearity
Mode = Literal["fan_in", "fan_out"]
LrMul = SupportsFloat | Callable[[float], SupportsFloat]
SQRT2 = math.sqrt(2)


@dataclass(frozen=True)
class Rule:
    """How a call turns fans into scales.

    Attributes:
        gain: the ratio that makes up for the nonlinearity, sqrt(2) for ReLU.
        mode: "fan_in" keeps the size of the responses, "fan_out" that of the gradients.
        lr_mul: StyleGAN's learning rate multiplier, or a function that gives it for a fan.
    """

    gain: float
    mode: Mode
    lr_mul: float | Callable[[float], SupportsFloat]

    @classmethod
    def checked(cls, gain: Gain, mode: Mode, lr_mul: LrMul) -> Rule:
        """The rule of a public call, or an `InvalidArgument`."""
        if mode not in ("fan_in", "fan_out"):
            raise InvalidArgument("mode", mode, "'fan_in' or 'fan_out'")
        return cls(
            gain=_gain(gain),
            mode=mode,
            lr_mul=lr_mul if callable(lr_mul) else positive("lr_mul", lr_mul),
        )

    def scale(self, fan: Fan) -> float:
        """c = gain / sqrt(fan) * lr_mul, in double precision.

        He et al. 2015, equations 10 and 14, give the standard deviation gain / sqrt(fan);
        Karras et al. 2018 (PGGAN, section 4.1) apply it at run time, and Karras et al. 2019
        (StyleGAN, appendix C) multiply it by lr_mul.
        """
        scale = self.gain / math.sqrt(self._connections(fan)) * self.multiplier(fan)
        return positive("c = gain / sqrt(fan) * lr_mul", scale)

    def multiplier(self, fan: Fan) -> float:
        """lr_mul for a weight with this fan."""
        if callable(self.lr_mul):
            return positive("lr_mul(fan)", self.lr_mul(self._connections(fan)))
        return self.lr_mul

    def _connections(self, fan: Fan) -> float:
        return positive(self.mode, getattr(fan, self.mode))


def _gain(gain: Gain) -> float:
    if isinstance(gain, str):
        try:
            return float(nn.init.calculate_gain(gain))  # type: ignore[arg-type]
        except ValueError:
            raise InvalidArgument("gain", gain, EXPECTED) from None
    return gain_of(gain) if callable(gain) else positive("gain", gain)
