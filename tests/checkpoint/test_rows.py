"""Rows: patterns of keys, fans and axes."""

import math
import re

import pytest

from equalized_lr.checkpoint import rows
from equalized_lr.checkpoint.rows import Row, Scale, pattern, split_name

SHAPE = (2, 3, 5, 7)


@pytest.mark.parametrize(
    ("fan", "connections"),
    [
        (rows.out_in, 3 * 5 * 7),
        (rows.in_out, 2 * 5 * 7),
        (rows.in_out_at_1x1, 2),
        (rows.one_out_in, 5 * 7),
        (rows.kernel_in_out, 2 * 3 * 5),
        (rows.kernel_out_in, 2 * 3 * 7),
        (rows.in_is_larger, 3 * 5 * 7),
    ],
)
def test_fans(fan, connections):
    """Four prime sizes, so that any other product would be seen."""
    assert fan(SHAPE) == connections


def test_the_constant():
    """c = times * gain / sqrt(fan) * lr_mul, from numbers and from facts by name."""
    scale = Scale("gain", rows.out_in, "lr_mul", times=0.25)
    assert scale.value((9, 4), {"gain": 2.0, "lr_mul": 0.5}) == 0.25 * 2.0 / 2 * 0.5
    assert Scale(lr_mul=0.5).value((9,), {}) == 0.5
    assert Scale(1.0, rows.out_in).value((4, 0), {}) == math.inf


def test_patterns():
    """A dot is a dot, # a number, and nothing else is changed."""
    keys = re.compile(pattern("b#.(conv|fc).weight"))
    assert keys.fullmatch("b16.conv.weight")
    assert not keys.fullmatch("b16xconv.weight")
    assert not keys.fullmatch("bx.conv.weight")
    assert split_name("a.(b.c|d).(e.f)?weight") == ("a.(b.c|d).", "(e.f)?weight")
    assert split_name("const") == ("", "const")


def test_axes():
    """A weight with a fan has two to five axes, or as many as its order; a bias has any."""
    weight = Row("w", Scale(1.0, rows.out_in))
    assert [weight.fits((2,) * n) for n in range(7)] == [False] * 2 + [True] * 4 + [False]
    assert Row("w", order=(1, 0)).fits((2, 2))
    assert not Row("w", order=(1, 0)).fits((2, 2, 2))
    assert Row("b").fits(())
    assert not Row("w", kernel=4).fits((2, 2, 3, 3))
    assert Row("w", order=(3, 2, 0, 1)).stored_shape((5, 4, 2, 3)) == (2, 3, 4, 5)


def test_layers():
    """A weight and its bias; an option is the weight's, and a mapping's bias is scaled, too."""
    weight, bias = rows.layer("fc", rows.fan_in, "style", "style bias", suffix="_orig")
    assert weight == Row("fc.weight", rows.fan_in, "style", suffix="_orig")
    assert bias == Row("fc.bias", why="style bias")
    weight, bias = rows.mapping("style.#", order=(1, 0))
    assert weight == Row("style.#.weight", rows.slow, "mapping", order=(1, 0))
    assert bias == Row("style.#.bias", rows.slow_bias, "mapping bias")
