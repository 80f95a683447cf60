"""Facts: defaults, what the caller says, and what is refused."""

import math

import pytest

from equalized_lr import errors
from equalized_lr.checkpoint.facts import check_facts, check_scales
from equalized_lr.checkpoint.families import FAMILIES


def test_defaults_and_values():
    """What is not said is the code base's default; a table may be named by a number."""
    facts = check_facts(FAMILIES["stylegan"], {"version": 1, "fused_from": math.inf})
    assert facts == {
        "gain": math.sqrt(2), "lr_mul": 0.01, "fused_from": math.inf, "version": "1",
    }  # fmt: skip
    assert check_facts(FAMILIES["stylegan"], {})["version"] is None


@pytest.mark.parametrize(
    ("family", "values", "message"),
    [
        ("basicsr", {"gain": 1}, "'gain' is no fact of basicsr"),
        ("basicsr", {"lr_mul": 0}, "lr_mul=0"),
        ("alae", {"form": "both"}, "'explicit' or 'implicit'"),
        ("equalized-lr", {"scales": 0.5}, "as he_scales"),
        ("equalized-lr", {"scales": {"w": -1}}, r"scales\['w'\]=-1"),
    ],
)
def test_refusals(family, values, message):
    """The fact is named, and what it could be."""
    with pytest.raises((errors.UnknownFact, errors.InvalidArgument), match=message):
        check_facts(FAMILIES[family], values)


def test_scales():
    """Constants by name become floats."""
    assert check_scales("scales", {"w": 2}) == {"w": 2.0}
