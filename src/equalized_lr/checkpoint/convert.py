"""`to_plain`, `from_plain` and what goes with them: the public calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from equalized_lr.checkpoint.conversion import Conversion, convert_tensors, refuse_twice
from equalized_lr.checkpoint.engine import Reading
from equalized_lr.checkpoint.facts import check_facts
from equalized_lr.checkpoint.families import FAMILIES
from equalized_lr.checkpoint.family import Family
from equalized_lr.checkpoint.likeness import likelier, likenesses
from equalized_lr.checkpoint.listing import Explanation
from equalized_lr.checkpoint.rows import Facts
from equalized_lr.checkpoint.state import State, converted_metadata
from equalized_lr.errors import (
    InvalidArgument,
    OutsidePrefix,
    Undecided,
    UnknownFamily,
    UnknownKeys,
)


def families() -> list[str]:
    """The code bases whose checkpoints are known.

    >>> "stylegan2-ada" in families()
    True
    """
    return list(FAMILIES)


def to_plain(
    state_dict: Mapping[str, Any],
    family: str,
    *,
    prefix: str = "",
    rest: str | None = None,
    **facts: Any,
) -> dict[str, Tensor]:
    """The effective weights of another code base's checkpoint, under plain names.

    Plain names are the names of the file without what equalization added (`_orig`, `_ori`), with
    dots for slashes; nothing else is renamed. TensorFlow's kernels come in torch's order of axes.
    `docs/checkpoints.md` lists for every family what is scaled, and what is left alone.

    Example:
        >>> stored = {"style.1.weight": torch.ones(4, 4), "style.1.bias": torch.ones(4)}
        >>> plain = to_plain(stored, "rosinality-stylegan2", lr_mul=0.5)
        >>> plain["style.1.weight"][0, 0], plain["style.1.bias"][0]
        (tensor(0.2500), tensor(0.5000))

    Args:
        state_dict: the tensors of one network by name (numpy arrays will do).
        family: one of `families()`.
        prefix: what stands before the network's keys, such as "decoder.", and stays there.
        rest: what becomes of the keys without the prefix: "keep" (as they are) or "drop".
        **facts: what such a file does not hold, where it differs from the code base's default.

    Returns:
        The weights: what is scaled in memory of its own, the rest as it was. Tied tensors are one
        tensor here, too. The argument is not changed. Metadata of the result says that it is
        plain, so that it is not converted twice.

    Raises:
        EqualizedLRError: naming every key that the family does not have, a fact that is unknown,
            or what else keeps the weights from being known exactly.
    """
    return _convert(state_dict, family, prefix, rest, facts, back=False)


def from_plain(
    state_dict: Mapping[str, Any],
    family: str,
    *,
    prefix: str = "",
    rest: str | None = None,
    **facts: Any,
) -> dict[str, Tensor]:
    """The reverse of `to_plain`: what the other code base can load.

    Example:
        >>> plain = {"style.1.weight": torch.ones(4, 4), "style.1.bias": torch.ones(4)}
        >>> stored = from_plain(plain, "rosinality-stylegan2", lr_mul=0.5)
        >>> stored["style.1.weight"][0, 0], stored["style.1.bias"][0]
        (tensor(4.), tensor(2.))

    Args:
        state_dict: plain effective weights under the names that `to_plain` gives them.
        family: as in `to_plain`.
        prefix: as in `to_plain`.
        rest: as in `to_plain`.
        **facts: as in `to_plain`.

    Returns:
        The stored weights: values of `to_plain`'s argument, exactly where c is a power of two.

    Raises:
        EqualizedLRError: as `to_plain`.
    """
    return _convert(state_dict, family, prefix, rest, facts, back=True)


def explain(
    state_dict: Mapping[str, Any],
    family: str,
    *,
    back: bool = False,
    prefix: str = "",
    rest: str | None = None,
    **facts: Any,
) -> Explanation:
    """What `to_plain` (or, with `back`, `from_plain`) does to each tensor, and why.

    Example:
        >>> stored = {"conv1.noise.weight": torch.ones(1), "style.1.weight": torch.ones(4, 4)}
        >>> explain(stored, "rosinality-stylegan2")
        key                                  shape             factor what
        conv1.noise.weight                   1                      - noise strength
        style.1.weight                       4x4                0.005 mapping
        1 scaled, 1 left alone
        >>> [row.scale for row in explain(stored, "rosinality-stylegan2")]
        [None, 0.005]
    """
    state = State.of(state_dict)
    conversions = _conversions(state, _family(family), prefix, rest, facts, back=back)
    return Explanation(conversions, back=back)


def guess(state_dict: Mapping[str, Any]) -> list[str]:
    """The families whose names fit a state_dict best; none if no family knows half of them.

    A network behind a prefix is found as well, if the whole is like no family.

    >>> guess({"style_mlp.1.weight": torch.ones(4, 4)})
    ['basicsr']
    """
    likely = likenesses(State.within(state_dict))
    return list(dict.fromkeys(like.family for like in likely))


def _convert(
    state_dict: Mapping[str, Any],
    name: str,
    prefix: str,
    rest: str | None,
    facts: Mapping[str, Any],
    *,
    back: bool,
) -> dict[str, Tensor]:
    state, family = State.of(state_dict), _family(name)
    conversions = _conversions(state, family, prefix, rest, facts, back=back)
    tensors = convert_tensors(state.tensors, conversions, back=back)
    form = "stored" if back else "plain"
    result = State(tensors, converted_metadata(state, _dotted(prefix), form, name))
    if back and family.complete is not None:
        family.complete(result, conversions)
    return result.as_dict()


def _conversions(
    state: State,
    family: Family,
    prefix: str,
    rest: str | None,
    facts: Mapping[str, Any],
    *,
    back: bool,
) -> list[Conversion]:
    checked, prefix = check_facts(family, facts), _dotted(prefix)
    outside = _outside(state, prefix, rest)
    if back:
        state.refuse_stored(prefix)
    else:
        state.refuse_plain(prefix, family.name)
    inside = {c.key: c for c in _read(state.part(prefix), family, checked, back=back)}
    conversions = []
    for key, tensor in state.tensors.items():
        if key in outside:
            name = key if rest == "keep" else ""
            conversions.append(Conversion.alone(key, name, tensor, f"outside: {rest}"))
        else:
            conversions.append(inside[key.removeprefix(prefix)].behind(prefix))
    refuse_twice(conversions)
    return conversions


def _outside(state: State, prefix: str, rest: str | None) -> set[str]:
    """The keys without the prefix, if it is said what becomes of them."""
    if rest not in (None, "keep", "drop"):
        raise InvalidArgument("rest", rest, "'keep' or 'drop'")
    if rest is not None and not prefix:
        raise InvalidArgument("rest", rest, "a prefix= beside it, outside of which the rest is")
    outside = [key for key in state.tensors if not key.startswith(prefix)]
    if prefix and len(outside) == len(state.tensors):
        raise InvalidArgument("prefix", prefix, "what keys of the state_dict begin with")
    if outside and rest is None:
        raise OutsidePrefix(prefix, outside)
    return set(outside)


def _read(state: State, family: Family, facts: Facts, *, back: bool) -> list[Conversion]:
    if family.converter is not None:
        _refuse_likelier(state, family, facts)
        return family.converter(state, facts, back)
    table = facts[family.variant] if family.variant else ""
    if table is None:
        table = family.detect(state.tensors, back)
    if table is None:
        _refuse_likelier(state, family, facts)
        raise Undecided(family.name, family.variant, list(family.tables))
    try:
        return Reading(state.tensors, family, str(table), facts, back=back).conversions()
    except UnknownKeys as error:
        likely = likelier(state, family)
        raise UnknownKeys(family.name, error.keys, likely, error.known) from None


def _refuse_likelier(state: State, family: Family, facts: Facts) -> None:
    """Raises if another family knows more of the names, and the caller has not said otherwise."""
    likely = [] if facts.get("scales") else likelier(state, family)
    if likely:
        keys = [(key, tuple(tensor.shape)) for key, tensor in state.tensors.items()]
        raise UnknownKeys(family.name, keys, likely)


def _family(name: str) -> Family:
    if name not in FAMILIES:
        raise UnknownFamily(name, families())
    return FAMILIES[name]


def _dotted(prefix: str) -> str:
    """A prefix with the dot, or the slash, in which it ends."""
    return prefix if not prefix or prefix.endswith((".", "/")) else f"{prefix}."
