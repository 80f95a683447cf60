"""What an equalized layer does not let itself be used for."""

from __future__ import annotations

from equalized_lr.errors.base import EqualizedLRError


class WrappedOnTop(EqualizedLRError, RuntimeError):
    """Something else was put on top of the equalized weight."""

    def __init__(self, where: str, other: str) -> None:
        super().__init__(
            f"{where} cannot be given back, saved or assigned while {other} is on top of it. "
            "Remove that first, in the reverse order of application."
        )


class HookLost(EqualizedLRError, RuntimeError):
    """The hook that knows the constant of an equalized layer is gone."""

    def __init__(self, kind: str) -> None:
        super().__init__(
            f"this {kind} is equalized, but its forward pre-hook, which knows c, was removed: "
            "somebody cleared its hooks. Keep the hook, and undo with remove_equalized_lr."
        )


class NotAssignable(EqualizedLRError, TypeError):
    """An equalized weight was assigned something else than a Parameter."""

    def __init__(self, name: str, given: str) -> None:
        super().__init__(
            f"'{name}' is computed as c * {name}_orig, so it cannot be set to {given}. "
            f"Assign an nn.Parameter (it is divided by c and stored), write into {name}_orig, "
            "or call remove_equalized_lr first."
        )


class NotConvertible(EqualizedLRError, RuntimeError):
    """A converter was called that goes by the class of a layer, or by its Parameter."""

    def __init__(self, kind: str, converter: str) -> None:
        super().__init__(
            f"{converter} does not know this {kind}, whose weight is computed: it would leave the "
            "layer out, or fail half way. Call remove_equalized_lr(model) first."
        )
