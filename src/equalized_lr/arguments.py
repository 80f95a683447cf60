"""Checks of arguments that several public calls take."""

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
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        number = math.nan
    if not 0 < number < math.inf:
        raise InvalidArgument(argument, value, "a positive finite number")
    return number
