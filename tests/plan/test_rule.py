"""From fans to constants."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from equalized_lr import Fan, errors
from equalized_lr.plan.rule import Rule
from tests.support.reference import he_constant
from tests.support.strategies import gains, lr_muls

fan_counts = st.floats(0.01, 1e6)


@given(gains, lr_muls, fan_counts, fan_counts)
def test_the_mode_takes_its_fan(gain, lr_mul, fan_in, fan_out):
    """Either number of connections, in He's rule."""
    fan = Fan(fan_in, fan_out)
    for mode, number in (("fan_in", fan_in), ("fan_out", fan_out)):
        assert Rule.checked(gain, mode, lr_mul).scale(fan) == he_constant(number, gain, lr_mul)


@given(gains, fan_counts, fan_counts)
def test_lr_mul_may_be_a_function_of_the_fan(gain, fan_in, fan_out):
    """It gets the number of connections that the mode says."""
    fan, mup = Fan(fan_in, fan_out), lambda fan: fan**-0.5
    for mode, number in (("fan_in", fan_in), ("fan_out", fan_out)):
        rule = Rule.checked(gain, mode, mup)
        assert rule.multiplier(fan) == number**-0.5
        assert rule.scale(fan) == he_constant(number, gain, number**-0.5)


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, "x", None, True])
def test_a_function_that_gives_no_multiplier(value):
    """What it returns is checked as an argument is."""
    rule = Rule.checked(1.0, "fan_in", lambda fan: value)
    with pytest.raises(errors.InvalidArgument, match=r"lr_mul\(fan\)="):
        rule.multiplier(Fan(4, 4))


@pytest.mark.parametrize("name", ["relu", "tanh", "linear", "leaky_relu", "selu", "sigmoid"])
def test_named_gains_are_torchs(name):
    """A gain by name is torch.nn.init.calculate_gain's."""
    assert Rule.checked(name, "fan_in", 1).gain == nn.init.calculate_gain(name)


def test_numbers_of_any_kind():
    """Integers, numpy-like scalars and one-element tensors are numbers."""
    import numpy as np
    import torch

    for number in (2, np.float32(2), torch.tensor(2.0)):
        assert Rule.checked(number, "fan_in", number).scale(Fan(16, 1)) == 1.0
    assert math.isclose(Rule.checked(1, "fan_in", 1).scale(Fan(2.25, 1)), 2 / 3)
