"""State_dicts that would not be what they seem."""

from __future__ import annotations

from equalized_lr.errors.base import EqualizedLRError


class AmbiguousState(EqualizedLRError, RuntimeError):
    """A state_dict holds one weight twice, plain and stored."""

    def __init__(self, plain: str, stored: str) -> None:
        super().__init__(
            f"the state_dict has both '{plain}' (effective) and '{stored}' (stored): "
            "one weight, given twice. Delete one of the two keys."
        )


class ForeignState(EqualizedLRError, RuntimeError):
    """A stored weight was saved by code that does not say with which constant."""

    def __init__(self, stored: str, plain: str) -> None:
        super().__init__(
            f"'{stored}' was saved by a module that is not equalized by this library, so its "
            "constant is not known. Convert the checkpoint with equalized_lr.checkpoint.to_plain, "
            f"or give the effective weight as '{plain}'."
        )


class UnknownVersion(EqualizedLRError, RuntimeError):
    """A state_dict was saved by a later version of this library."""

    def __init__(self, where: str, version: object, known: int) -> None:
        super().__init__(
            f"the state_dict of {where} has format {version!r}, and this library knows formats up "
            f"to {known}. Give it the plain_state_dict of that model, or install a newer version."
        )
