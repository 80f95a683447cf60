"""From fans to constants."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from equalized_lr import Fan
from equalized_lr.rule import Rule
from reference import he_constant
from strategies import gains, lr_muls

fan_counts = st.floats(0.01, 1e6)


@given(gains, lr_muls, fan_counts, fan_counts)
def test_the_mode_takes_its_fan_and_a_given_fan_wins(gain, lr_mul, fan_in, fan_out):
    """fan_in and fan_out are taken by mode, and a fan that the caller gives replaces both."""
    fan = Fan(fan_in, fan_out)
    for mode, number in (("fan_in", fan_in), ("fan_out", fan_out)):
        assert Rule.checked(gain, mode, lr_mul).scale(fan) == he_constant(number, gain, lr_mul)
        given_fan = Rule.checked(gain, mode, lr_mul, 7).scale(fan)
        assert given_fan == he_constant(7, gain, lr_mul)


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
