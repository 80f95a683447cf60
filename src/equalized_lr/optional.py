"""Packages that only some calls need, and that are imported by them."""

from __future__ import annotations

import importlib
from typing import Any

from equalized_lr.errors import MissingPackage


def needed(name: str, *facts: str) -> Any:
    """A module of another package, which need not be installed.

    Raises:
        MissingPackage: it is not, with these facts about what needs it and what to do instead.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingPackage(name.partition(".")[0], *facts) from None
