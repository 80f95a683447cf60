"""Checks of arguments."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from equalized_lr import errors
from equalized_lr.arguments import positive


@pytest.mark.parametrize("value", [2, 0.5, Fraction(1, 3), np.float32(0.25), torch.tensor(4.0)])
def test_numbers_of_any_kind(value):
    """What can be a float is one."""
    assert positive("gain", value) == float(value)


@pytest.mark.parametrize(
    "value", [0, -1.0, float("inf"), float("nan"), True, "2", None, torch.ones(2), 10**400]
)
def test_what_is_no_positive_number(value):
    """The argument is named, with its value."""
    with pytest.raises(errors.InvalidArgument, match=r"^gain=.*a positive finite number"):
        positive("gain", value)
