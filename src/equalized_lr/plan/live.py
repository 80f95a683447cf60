"""The objects that are alive, by class."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


def live(kind: type[T]) -> Iterator[T]:
    """All living objects of a class; a search of the heap."""
    objects = gc.get_objects()
    # By type, not by isinstance: that would run the `__class__` of proxies and lazy objects.
    kinds = {found for found in set(map(type, objects)) if issubclass(found, kind)}
    return (found for found in objects if type(found) in kinds)
