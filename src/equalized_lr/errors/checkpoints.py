"""Checkpoints of other code bases that no rule fits."""

from __future__ import annotations

from collections.abc import Sequence

from equalized_lr.errors.base import EqualizedLRError


class UnknownFamily(EqualizedLRError, ValueError):
    """No rules are known for checkpoints of this code base."""

    def __init__(self, name: object, known: Sequence[str]) -> None:
        super().__init__(f"no family is called {name!r}. Name one of: {', '.join(known)}.")


class UnknownFact(EqualizedLRError, TypeError):
    """A fact was given that the rules of the family do not use."""

    def __init__(self, name: str, family: str, known: Sequence[str]) -> None:
        super().__init__(
            f"'{name}' is no fact of {family} checkpoints, whose facts are: "
            f"{', '.join(known) or 'none'}. Leave it out, or name another family."
        )


class UnknownKeys(EqualizedLRError, ValueError):
    """A checkpoint has keys that its family does not have."""

    def __init__(
        self,
        family: str,
        keys: Sequence[tuple[str, Sequence[int]]],
        likely: Sequence[str] = (),
    ) -> None:
        shown = ", ".join(f"'{key}' {tuple(shape)}" for key, shape in keys[:50])
        more = f" and {len(keys) - 50} more" if len(keys) > 50 else ""
        other = f"The names look like {' or '.join(likely)}: name that family. " if likely else ""
        super().__init__(
            f"{len(keys)} key(s) are not known in {family} checkpoints: {shown}{more}. {other}"
            "Keys are not guessed: remove those that belong to something else."
        )
        self.keys = list(keys)


class UnfitTensor(EqualizedLRError, ValueError):
    """A tensor cannot be what its name says."""

    def __init__(self, key: str, shape: Sequence[int], given: str, expected: str) -> None:
        super().__init__(
            f"'{key}' of shape {tuple(shape)} {given}, where this family has {expected}. "
            "Name the family that the file comes from, and give the file as it was written."
        )


class UnscalableValues(EqualizedLRError, ValueError):
    """The converted values would not fit into the tensor's dtype."""

    def __init__(self, key: str, scale: float, dtype: str, divided: bool) -> None:
        super().__init__(
            f"'{key}' {'divided' if divided else 'multiplied'} by c = {scale:.3g} does not fit "
            f"into {dtype}. Give it in float32."
        )


class Undecided(EqualizedLRError, ValueError):
    """A file does not say which of several rules holds for it."""

    def __init__(self, family: str, fact: str, choices: Sequence[str]) -> None:
        super().__init__(
            f"the tensors do not tell surely by which rule of {family} they are stored. "
            f"Give {fact}={' or '.join(map(repr, choices))}."
        )
