"""`to_plain`, `from_plain` and what goes with them: the public calls."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from equalized_lr.arguments import positive
from equalized_lr.checkpoint.engine import Reading, Step, coverage
from equalized_lr.checkpoint.families import FAMILIES
from equalized_lr.checkpoint.rows import Facts, Family
from equalized_lr.checkpoint.values import follow
from equalized_lr.errors import (
    InvalidArgument,
    NotAStateDict,
    Undecided,
    UnknownFact,
    UnknownFamily,
    UnknownKeys,
)


def families() -> list[str]:
    """The code bases whose checkpoints are known.

    >>> "stylegan2-ada" in families()
    True
    """
    return list(FAMILIES)


def to_plain(state_dict: Mapping[str, Any], family: str, **facts: Any) -> dict[str, Tensor]:
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
        **facts: what such a file does not hold, where it differs from the code base's default.

    Returns:
        The weights: what is scaled in memory of its own, the rest as it was given. Tied tensors
        are one tensor here, too. The state_dict is not changed.

    Raises:
        EqualizedLRError: naming every key that the family does not have, a fact that is unknown,
            or what else keeps the weights from being known exactly.
    """
    return _convert(state_dict, family, facts, back=False)


def from_plain(state_dict: Mapping[str, Any], family: str, **facts: Any) -> dict[str, Tensor]:
    """The reverse of `to_plain`: what the other code base can load.

    Example:
        >>> plain = {"style.1.weight": torch.ones(4, 4), "style.1.bias": torch.ones(4)}
        >>> stored = from_plain(plain, "rosinality-stylegan2", lr_mul=0.5)
        >>> stored["style.1.weight"][0, 0], stored["style.1.bias"][0]
        (tensor(4.), tensor(2.))

    Args:
        state_dict: plain effective weights under the names that `to_plain` gives them.
        family: as in `to_plain`.
        **facts: as in `to_plain`.

    Returns:
        The stored weights: values of `to_plain`'s argument, exactly where c is a power of two.

    Raises:
        EqualizedLRError: as `to_plain`.
    """
    return _convert(state_dict, family, facts, back=True)


def explain(
    state_dict: Mapping[str, Any], family: str, *, back: bool = False, **facts: Any
) -> list[Step]:
    """What `to_plain` (or, with `back`, `from_plain`) does to each tensor, and why.

    Example:
        >>> stored = {"conv1.noise.weight": torch.ones(1), "style.1.weight": torch.ones(4, 4)}
        >>> for step in explain(stored, "rosinality-stylegan2"):
        ...     print(step.key, step.scale, step.why)
        conv1.noise.weight None noise strength
        style.1.weight 0.005 mapping
    """
    return _plan(state_dict, family, facts, back)[1]


def guess(state_dict: Mapping[str, Any]) -> list[str]:
    """The families whose names fit a state_dict best; none if no family knows half of them.

    >>> guess({"style_mlp.1.weight": torch.ones(4, 4)})
    ['basicsr']
    """
    keys = [key for key in state_dict if isinstance(key, str)]
    shares = {name: coverage(keys, family) for name, family in FAMILIES.items()}
    best = max(shares.values())
    return [name for name, share in shares.items() if share == best and share >= 0.5]


def _convert(
    state_dict: Mapping[str, Any], family: str, facts: Mapping[str, Any], back: bool
) -> dict[str, Tensor]:
    tensors, steps = _plan(state_dict, family, facts, back)
    return follow(tensors, steps, back=back)


def _plan(
    state_dict: Mapping[str, Any], name: str, given: Mapping[str, Any], back: bool
) -> tuple[dict[str, Tensor], list[Step]]:
    if name not in FAMILIES:
        raise UnknownFamily(name, families())
    family = FAMILIES[name]
    facts = _facts(family, given)
    tensors = as_tensors(state_dict)
    table = facts[family.variant] if family.variant else ""
    if table is None:
        table = family.detect(tensors, back)
    if table is None:
        _refuse_other_families(tensors, family)
        raise Undecided(name, family.variant, list(family.tables))
    try:
        return tensors, Reading(tensors, family, str(table), facts, back=back).steps()
    except UnknownKeys as error:
        raise UnknownKeys(name, error.keys, [n for n in guess(tensors) if n != name]) from None


def _refuse_other_families(tensors: Mapping[str, Tensor], family: Family) -> None:
    likely = guess(tensors)
    if likely and family.name not in likely:
        keys = [(key, tuple(tensor.shape)) for key, tensor in tensors.items()]
        raise UnknownKeys(family.name, keys, likely)


def _facts(family: Family, given: Mapping[str, Any]) -> Facts:
    facts: dict[str, float | str | None] = dict(family.facts)
    if family.variant:
        facts[family.variant] = None
    for name, value in given.items():
        if name not in facts:
            raise UnknownFact(name, family.name, list(facts))
        if name != family.variant:
            facts[name] = math.inf if value == math.inf else positive(name, value)
        elif str(value) in family.tables:
            facts[name] = str(value)
        else:
            raise InvalidArgument(name, value, " or ".join(map(repr, family.tables)))
    return facts


def as_tensors(state_dict: object) -> dict[str, Tensor]:
    """Tensors by name, from tensors and numpy's arrays, or a refusal of anything else."""
    if not isinstance(state_dict, Mapping):
        raise NotAStateDict(f"a {type(state_dict).__name__}", [])
    entries = [str(k) for k, v in state_dict.items() if isinstance(v, Mapping)]
    if entries:
        raise NotAStateDict("several things in one", entries)
    return {key: _tensor(key, value) for key, value in state_dict.items()}


def _tensor(key: object, value: Any) -> Tensor:
    if not isinstance(key, str):
        raise NotAStateDict(f"a dict with the key {key!r}", [])
    if isinstance(value, Tensor):
        return value
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
        try:
            native = value.dtype.newbyteorder("=")
            return torch.from_numpy(numpy.array(value, dtype=native, order="C"))
        except (TypeError, ValueError, RuntimeError):
            raise NotAStateDict(f"a dict whose '{key}' is no array of numbers", []) from None
    raise NotAStateDict(f"a dict whose '{key}' is a {type(value).__name__}", [])
