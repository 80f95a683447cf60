"""Facts: what a checkpoint does not hold, and the caller knows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from equalized_lr.arguments import positive
from equalized_lr.checkpoint.family import Family
from equalized_lr.checkpoint.rows import Facts
from equalized_lr.errors import InvalidArgument, UnknownFact


def check_facts(family: Family, values: Mapping[str, Any]) -> Facts:
    """All facts of a family: those of the caller, and the defaults of the others."""
    facts: dict[str, Any] = dict(family.facts)
    if family.variant:
        facts[family.variant] = None
    for name, value in values.items():
        if name not in facts:
            raise UnknownFact(name, family.name, list(facts))
        if isinstance(facts[name], Mapping):
            facts[name] = check_scales(name, value)
        elif name != family.variant:
            facts[name] = math.inf if value == math.inf else positive(name, value)
        elif str(value) in family.tables:
            facts[name] = str(value)
        else:
            raise InvalidArgument(name, value, " or ".join(map(repr, family.tables)))
    return facts


def check_scales(name: str, value: object) -> dict[str, float]:
    """Constants by name, or an `InvalidArgument`."""
    if not isinstance(value, Mapping):
        raise InvalidArgument(name, value, "constants by name, as he_scales(model) gives them")
    return {str(key): positive(f"{name}['{key}']", scale) for key, scale in value.items()}
