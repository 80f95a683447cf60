"""The errors: each says what was given, where, why it cannot be used, and what to do."""

from equalized_lr.errors.base import *
from equalized_lr.errors.checkpoints import *
from equalized_lr.errors.layers import *
from equalized_lr.errors.models import *
from equalized_lr.errors.optimizers import *

__all__ = [
    name
    for name, value in globals().items()
    if isinstance(value, type) and value.__module__.startswith(f"{__name__}.")
]
