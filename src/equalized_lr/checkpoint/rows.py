"""What a rule table is made of: rows that say what a key means and how its tensor is scaled."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Shape = Sequence[int]
Facts = Mapping[str, Any]


# The connections into one response, from a stored shape. What comes first names the axes.
def out_in(shape: Shape) -> int:
    """(out, in, kernel): torch's linear layers and convolutions."""
    return math.prod(shape[1:])


def in_out(shape: Shape) -> int:
    """(in, out, kernel): torch's transposed convolutions."""
    return shape[0] * math.prod(shape[2:])


def in_out_at_1x1(shape: Shape) -> int:
    """(in, out, kernel) on an input of one pixel: each response has one tap."""
    return shape[0]


def one_out_in(shape: Shape) -> int:
    """(1, out, in, kernel): a modulated convolution."""
    return math.prod(shape[2:])


def kernel_in_out(shape: Shape) -> int:
    """(kernel, in, out): TensorFlow."""
    return math.prod(shape[:-1])


def kernel_out_in(shape: Shape) -> int:
    """(kernel, out, in): TensorFlow's transposed convolutions."""
    return math.prod(shape[:-2]) * shape[-1]


def in_is_larger(shape: Shape) -> int:
    """(out, in, kernel) or (in, out, kernel), where a decoder never widens."""
    return max(shape[:2]) * math.prod(shape[2:])


@dataclass(frozen=True)
class Scale:
    """c = times * gain / sqrt(fan) * lr_mul.

    Attributes:
        gain: a number, or the name of the fact that holds it.
        fan: how to count connections in the stored shape; None where there is no fan.
        lr_mul: a number, or the name of a fact.
        times: a number, for gains that are fractions of another.
        beside: the sibling whose shape has the fan, where it is not the tensor's own.
    """

    gain: float | str = 1.0
    fan: Callable[[Shape], int] | None = None
    lr_mul: float | str = 1.0
    times: float = 1.0
    beside: str = ""

    def value(self, shape: Shape, facts: Facts) -> float:
        """The constant c of a tensor; not finite where the shape has no fan."""
        gain, lr_mul = (_number(x, facts) for x in (self.gain, self.lr_mul))
        connections = 1 if self.fan is None else self.fan(shape)
        return self.times * gain / math.sqrt(connections) * lr_mul if connections else math.inf


def _number(number_or_fact: float | str, facts: Facts) -> float:
    value = facts[number_or_fact] if isinstance(number_or_fact, str) else number_or_fact
    assert isinstance(value, int | float)
    return value


@dataclass(frozen=True)
class Row:
    """One kind of tensor of a family.

    Attributes:
        keys: a pattern of plain names. A dot is a dot, # a number; (a|b) and ? are those of
            regular expressions.
        scale: what the stored tensor is multiplied by, or None if it is left alone.
        why: in a few words, what it is, or why it is left alone.
        suffix: what the file adds to the name.
        ndim: the numbers of axes that such a tensor can have; () for any.
        kernel: the size of its kernel, if that tells it from another.
        order: the stored axes, in the order in which the plain tensor has them.
        flip: whether the plain kernel is mirrored; or the fact that names the resolution from
            which on it is, the first number of the key.
        unless: not for tensors that have this sibling.
        only: for tensors that have this sibling.
        last: only for the largest first number among the keys that match.
    """

    keys: str
    scale: Scale | None = None
    why: str = ""
    suffix: str = ""
    ndim: tuple[int, ...] = ()
    kernel: int | None = None
    order: tuple[int, ...] = ()
    flip: bool | str = False
    unless: str = ""
    only: str = ""
    last: bool = False

    def fits(self, shape: Shape) -> bool:
        """Whether a stored tensor of this shape can be of this kind."""
        if self.kernel is not None and any(size != self.kernel for size in shape[2:]):
            return False
        return not self.axes or len(shape) in self.axes

    @property
    def axes(self) -> tuple[int, ...]:
        """The numbers of axes that such a tensor can have; () for any."""
        if self.ndim or self.order:
            return self.ndim or (len(self.order),)
        has_fan = self.scale and self.scale.fan and not self.scale.beside
        return (2, 3, 4, 5) if has_fan else ()

    def stored_shape(self, plain: Shape) -> tuple[int, ...]:
        """The shape in the file of a plain tensor."""
        if len(self.order) != len(plain):
            return tuple(plain)
        return tuple(plain[self.order.index(axis)] for axis in range(len(plain)))


# c of an ordinary layer, of one with the gain of its code base, and of a modulated convolution;
# that of a mapping network, and of its biases.
fan_in = Scale(1.0, out_in)
with_gain = Scale("gain", out_in)
modulated = Scale(1.0, one_out_in)
slow = Scale(1.0, out_in, "lr_mul")
slow_with_gain = Scale("gain", out_in, "lr_mul")
slow_bias = Scale(lr_mul="lr_mul")


def layer(path: str, scale: Scale, why: str, bias: str = "bias", **options: Any) -> tuple[Row, Row]:
    """The weight of a layer, with what else its row says, and its bias, which is left alone."""
    return Row(f"{path}.weight", scale, why, **options), Row(f"{path}.bias", why=bias)


def mapping(
    path: str, scale: Scale = slow, bias: Scale = slow_bias, **options: Any
) -> tuple[Row, Row]:
    """The weights of a mapping network, with what else their row says, and its biases."""
    weight = Row(f"{path}.weight", scale, "mapping", **options)
    return weight, Row(f"{path}.bias", bias, "mapping bias")


def pattern(keys: str) -> str:
    """The regular expression of a row's keys."""
    return re.sub(r"[.#]", lambda sign: {".": r"\.", "#": r"(?:\d+)"}[sign[0]], keys)


def split_name(keys: str) -> tuple[str, str]:
    """The path, with its last dot, and the name of a row's keys; a dot in brackets is no end."""
    ends = [
        position + 1
        for position, sign in enumerate(keys)
        if sign == "." and keys.count("(", 0, position) == keys.count(")", 0, position)
    ]
    end = ends[-1] if ends else 0
    return keys[:end], keys[end:]
