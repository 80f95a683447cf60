"""Checks of arguments."""

from __future__ import annotations

import math
from typing import SupportsFloat

from equalized_lr.errors import InvalidArgument


def positive(argument: str, value: SupportsFloat) -> float:
    """The number, or an `InvalidArgument` if it is not positive and finite."""
    expected = "a positive finite number"
    if isinstance(value, bool | str):
        raise InvalidArgument(argument, value, expected)
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise InvalidArgument(argument, value, expected) from None
    if not (math.isfinite(number) and number > 0):
        raise InvalidArgument(argument, value, expected)
    return number
