"""Which families a state_dict looks like, by its names and by what it says of itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

from equalized_lr.checkpoint.engine import known_keys
from equalized_lr.checkpoint.families import FAMILIES
from equalized_lr.checkpoint.families.own import suffixed_keys
from equalized_lr.checkpoint.families.self_describing import IMAGINAIRE, OT_VAE
from equalized_lr.checkpoint.family import Family
from equalized_lr.checkpoint.rows import pattern
from equalized_lr.checkpoint.state import OWN, State
from equalized_lr.errors import WrongForm

# How many parts of a key a prefix can have, as `generator.` and `netG.module.`.
DEEPEST_PREFIX = 2


@dataclass(frozen=True)
class Likeness:
    """A family that knows keys of a state_dict.

    Attributes:
        family: its name.
        prefix: what stands before its keys.
        known: the number of keys that it knows.
    """

    family: str
    prefix: str
    known: float

    def __str__(self) -> str:
        return f"{self.family} with prefix='{self.prefix}'" if self.prefix else self.family


def likenesses(state: State) -> list[Likeness]:
    """The families that know most keys; none where no family knows half of them.

    Where that is so, the parts of the state_dict behind each prefix are looked at.
    """
    whole = _best(state, "")
    return whole or _largest([like for prefix in _prefixes(state) for like in _best(state, prefix)])


def likelier(state: State, family: Family) -> list[str]:
    """The families that know more keys of a state_dict than this one does."""
    known = _known(state, family)
    return [str(like) for like in likenesses(state) if like.known > known]


def refuse_stored(state: State) -> None:
    """Raises if a state_dict says that it is not plain, or has names that no plain one has."""
    state.refuse_stored()
    if ("", "plain") in ((prefix, form) for prefix, form, _ in state.forms()):
        return
    likely = [like.family for like in likenesses(state)]
    if OT_VAE.name in likely or any(key.endswith("_ori") for key in state.tensors):
        raise WrongForm("stored", likely[0] if likely else IMAGINAIRE.name)
    if suffixed_keys(state):
        raise WrongForm("stored", likely[0] if likely else OWN)


def _best(state: State, prefix: str) -> list[Likeness]:
    part = state.part(prefix)
    likely = [Likeness(name, prefix, _known(part, family)) for name, family in FAMILIES.items()]
    return _largest([like for like in likely if like.known >= max(len(part.tensors) / 2, 1)])


def _largest(likely: list[Likeness]) -> list[Likeness]:
    most = max((like.known for like in likely), default=0)
    return [like for like in likely if like.known == most]


def _known(state: State, family: Family) -> float:
    if family.share is not None:
        return family.share(state) * len(state.tensors)
    if family.sign and not any(re.search(pattern(family.sign), key) for key in state.tensors):
        return 0
    return known_keys(state.tensors, family)


def _prefixes(state: State) -> list[str]:
    prefixes: dict[str, None] = {}
    for key in state.tensors:
        parts = key.split(".")[:-1][:DEEPEST_PREFIX]
        for end in range(1, len(parts) + 1):
            prefixes[".".join(parts[:end]) + "."] = None
    return list(prefixes)
