"""Families: which table a file is read by, and what the list of them promises."""

import re

import pytest

from equalized_lr.checkpoint.families import FAMILIES
from equalized_lr.checkpoint.family import by_names


def test_by_names():
    """The table of which there is a sign; none where there are two, or none."""
    detect = by_names({"one": "a.b", "two": "^c#"})
    assert detect({"x.a.b": 0}, False) == "one"
    assert detect({"x/a/b": 0}, False) == "one"
    assert detect({"c3": 0}, True) == "two"
    assert detect({"c3": 0, "a.b": 0}, False) is None
    assert detect({"xc3": 0, "aXb": 0}, False) is None
    detect = by_names({"one": "a.b", "two": "^c#"}, first=True)
    assert detect({"c3": 0, "a.b": 0}, False) == "one"
    assert detect({"c3": 0}, False) == "two"
    assert detect({"x": 0}, False) is None


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_each_family_is_complete(family):
    """Its name is its key, it states its source, and it has tables or a converter."""
    assert FAMILIES[family.name] is family
    assert re.fullmatch(r"[a-z0-9-]+", family.name)
    assert "/" in family.source
    assert bool(family.tables) != bool(family.converter)
    assert bool(family.variant) == (len(family.tables) > 1)
    for rows in family.tables.values():
        for row in rows:
            names = [row.scale.gain, row.scale.lr_mul] if row.scale else []
            assert {name for name in names if isinstance(name, str)} <= set(family.facts)
            assert row.why
