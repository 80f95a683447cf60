"""Checkpoints of other code bases that no rule fits."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from equalized_lr.errors.base import EqualizedLRError

LONGEST = 100


def _listing(names: Sequence[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


class UnknownFamily(EqualizedLRError, ValueError):
    """No rules are known for checkpoints of this code base."""

    def __init__(self, name: object, known: Sequence[str]) -> None:
        near = get_close_matches(str(name).lower(), known, 1)
        names = f"another: the nearest is '{near[0]}'" if near else f"one of: {', '.join(known)}"
        super().__init__(f"no family is called {name!r}. Name {names}.")


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
        known: int = 0,
    ) -> None:
        shown = _listing([f"'{key[:LONGEST]}' {tuple(shape)}" for key, shape in keys], 50)
        if likely:
            cure = f"The names look like {' or '.join(likely)}. Name that family."
        elif known:
            cure = "Keys are not guessed: remove those that belong to something else."
        else:
            cure = "Name the family that the file comes from: this one knows no key of it."
        super().__init__(
            f"{len(keys)} key(s) are not known in {family} checkpoints: {shown}. {cure}"
        )
        self.keys, self.known = list(keys), known


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


class WrongForm(EqualizedLRError, ValueError):
    """A state_dict says that it is not in the form that the conversion begins with."""

    def __init__(self, form: str, family: str) -> None:
        cure = (
            "Use them as they are, or give the state_dict that they were converted from"
            if form == "plain"
            else f"Convert them with to_plain(state_dict, '{family}'), or --family {family}"
        )
        super().__init__(
            f"the state_dict says that it has the {form} weights of {family}, so this conversion "
            f"would scale them by wrong constants. {cure}."
        )


class NoConstants(EqualizedLRError, ValueError):
    """Equalized weights whose constants were not saved with them."""

    def __init__(self, keys: Sequence[str]) -> None:
        shown = _listing([f"'{key[:LONGEST]}'" for key in keys], 10) or "any weight"
        super().__init__(
            f"the state_dict has no constants for {shown}: they are its metadata, which "
            "model.state_dict() has and torch.save keeps, but no copy into another dict and no "
            ".safetensors file. Give scales=he_scales(model), or save plain_state_dict(model)."
        )


class OutsidePrefix(EqualizedLRError, ValueError):
    """A state_dict has keys that do not begin with the prefix."""

    def __init__(self, prefix: str, keys: Sequence[str]) -> None:
        shown = _listing([f"'{key[:LONGEST]}'" for key in keys], 10)
        super().__init__(
            f"{len(keys)} key(s) do not begin with '{prefix}': {shown}. Give rest='keep' "
            "(they stay as they are) or rest='drop', which is --rest on the command line."
        )
