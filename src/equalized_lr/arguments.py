"""Checks of arguments that several public calls take."""

from __future__ import annotations

import math
from typing import SupportsFloat

from torch import nn

from equalized_lr.errors import InvalidArgument, NotAModule


def refuse_non_module(argument: object) -> None:
    """Raises `NotAModule` unless a module was passed."""
    if not isinstance(argument, nn.Module):
        raise NotAModule(type(argument).__name__)


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
