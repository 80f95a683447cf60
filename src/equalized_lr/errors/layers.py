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


class StaleWrite(EqualizedLRError, RuntimeError):
    """A weight was written in place after the stored parameter had changed."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(
            f"a tensor of shape {shape} that was read as layer.weight was written in place, but "
            "the stored parameter has changed since it was read, or was written through another "
            "tensor, so the write cannot be stored. Read layer.weight anew before each write: "
            "with torch.no_grad(): layer.weight.mul_(0.5)."
        )


class NotRebuilt(EqualizedLRError, RuntimeError):
    """A copy or pickle of a layer builds the layer anew, without what equalized it."""

    def __init__(self, kind: str) -> None:
        super().__init__(
            f"a {kind} copies itself by its own code (__reduce__), which builds a new layer "
            "without the stored weight and its constant. Copy the model before equalize_lr, or "
            "load its plain_state_dict into a new one."
        )


class OtherScale(EqualizedLRError, RuntimeError):
    """A reparametrized stored weight was saved under another constant."""

    def __init__(self, stored: str, saved: float, here: float) -> None:
        super().__init__(
            f"'{stored}' was saved with c = {saved:.6g}, and this layer has c = {here:.6g}, but "
            "another reparametrization of the stored weight keeps it from being converted. Load "
            "it into a layer of the same gain and lr_mul, or save plain weights: remove the "
            "other reparametrization first."
        )
