"""What is in the way when fans are looked for."""

from __future__ import annotations

from equalized_lr.errors.base import EqualizedLRError


class AlreadyScaled(EqualizedLRError, RuntimeError):
    text = """{where} is equalized by hand: the module multiplies it by {constant:.6g} before it is
    used{more}. equalize_lr would scale it once more. Remove that constant from the module's
    forward, or leave its equalization as it is and observe the other modules one by one."""

    def __init__(self, where: str, constant: float, others: int = 0) -> None:
        more = f", and so it does with {others} others" if others else ""
        super().__init__(where, constant, more)


class UnclearFan(UserWarning):
    """A parameter is used in a way that does not show one fan, so it is left out."""

    def __init__(self, where: str, uses: str) -> None:
        super().__init__(
            f"{where} has no fan of its own: {uses}. It is left out of the result. "
            'Add it by hand: observe(...) | {"name": Fan(fan_in, fan_out)}.'
        )


class LeftAlone(UserWarning):
    """A whole-model call leaves weights alone, or scales some that may be scaled by hand."""
