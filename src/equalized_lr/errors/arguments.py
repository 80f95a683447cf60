"""What a call was given that it cannot use."""

from __future__ import annotations

from collections.abc import Sequence

from equalized_lr.errors.base import EqualizedLRError


class NotAModule(EqualizedLRError, TypeError):
    """Something else than an `nn.Module` was given."""

    def __init__(self, given: object) -> None:
        super().__init__(
            f"expected a torch.nn.Module, got {type(given).__name__}. "
            "Pass the layer or the model itself, not its parameters or its state_dict."
        )


class InvalidArgument(EqualizedLRError, ValueError):
    """An argument has a value that cannot be used."""

    def __init__(self, argument: str, given: object, expected: str) -> None:
        super().__init__(f"{argument}={given!r} cannot be used: expected {expected}.")


class NothingToEqualize(EqualizedLRError, ValueError):
    """A whole-model call found no weight that is not equalized already."""

    def __init__(self, kind: str, equalized: int) -> None:
        why = (
            f"its {equalized} known weight(s) are equalized already"
            if equalized
            else "it holds no layer whose weights `fans` knows, or `where` selects none"
        )
        super().__init__(
            f"there is nothing to equalize in this {kind}: {why}. "
            "Name one parameter, equalize_lr(layer, 'weight', fan=...), "
            "or register its layer type with `fans.register`."
        )


class UnknownParameter(EqualizedLRError, ValueError):
    """The named parameter does not exist."""

    def __init__(self, name: str, kind: str, known: Sequence[str]) -> None:
        listing = ", ".join(known) or "none"
        super().__init__(
            f"'{name}' is not a parameter of this {kind} itself (it has: {listing}). "
            "Pass the module that holds it, or leave the name out to equalize the whole model."
        )


class UnknownFan(EqualizedLRError, ValueError):
    """The number of connections of the named parameter is not known."""

    def __init__(self, name: str, kind: str) -> None:
        super().__init__(
            f"`fans` does not know how many connections '{name}' of {kind} has. "
            f"Give the number, equalize_lr(layer, '{name}', fan=...), "
            f"or register the layer type: @fans.register({kind})."
        )


class AlreadyEqualized(EqualizedLRError, RuntimeError):
    """The named parameter is equalized already."""

    def __init__(self, name: str, kind: str, scale: float) -> None:
        super().__init__(
            f"'{name}' of this {kind} is equalized already, with c = {scale:.6g}. "
            f"To change its scale call remove_equalized_lr(layer, '{name}') first."
        )


class NotEqualized(EqualizedLRError, ValueError):
    """There is nothing to remove."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} is not equalized, so there is nothing to remove. "
            "Ask is_equalized(module, name) first if you are not sure."
        )


class WrongGenerator(EqualizedLRError, RuntimeError):
    """The generator is for another device."""

    def __init__(self, where: str, device: str, generator: str) -> None:
        super().__init__(
            f"{where} lies on {device}, but the generator is for {generator}. "
            f"Give torch.Generator('{device}'), or move the model after equalizing."
        )
