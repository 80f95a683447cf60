"""Reading a table, in both directions."""

import pytest
import torch

from equalized_lr import errors
from equalized_lr.checkpoint.engine import Reading, first_row, known_keys
from equalized_lr.checkpoint.family import Family
from equalized_lr.checkpoint.rows import Row, Scale, out_in

ROWS = (
    Row("layer#.weight", Scale(8.0, out_in), "last", suffix="_orig", last=True),
    Row("layer#.weight", Scale(1.0, out_in), "layer", suffix="_orig", unless="mark"),
    Row("layer#.mark", why="mark"),
)
FAMILY = Family("sample", "nowhere", {"": ROWS})
STORED = {"layer9.weight_orig": torch.ones(2, 4), "layer10.weight_orig": torch.ones(2, 16)}
PLAIN = {key.removesuffix("_orig"): tensor for key, tensor in STORED.items()}


def scales(state, *, back=False):
    conversions = Reading(state, FAMILY, "", {}, back=back).conversions()
    return {conversion.name: conversion.scale for conversion in conversions}


def test_both_directions():
    """Suffixes are taken off and put on, and layer10 comes after layer9."""
    assert scales(STORED) == {"layer9.weight": 0.5, "layer10.weight": 2.0}
    assert scales(PLAIN, back=True) == {"layer9.weight_orig": 0.5, "layer10.weight_orig": 2.0}
    assert scales({f"module.{key}": t for key, t in STORED.items()}) == {
        "module.layer9.weight": 0.5,
        "module.layer10.weight": 2.0,
    }


def test_a_sibling_that_excludes_a_row():
    """With no row left a key is unknown, and the error says how many were known."""
    with pytest.raises(errors.UnknownKeys, match=r"'layer9\.weight_orig' \(2, 4\)") as caught:
        scales({**STORED, "layer9.mark_orig": torch.ones(2)})
    assert caught.value.known == 1
    assert [key for key, _ in caught.value.keys] == ["layer9.weight_orig", "layer9.mark_orig"]


def test_axes_that_do_not_fit():
    """A known name of another shape is named with the axes that it should have."""
    with pytest.raises(errors.UnfitTensor, match="has 1 axes, where this family has 2 or 3"):
        scales({"layer1.weight_orig": torch.ones(2)})


def test_known_keys_and_the_first_row():
    """Stored names count as far as they fit; nothing else does."""
    assert known_keys({**STORED, "layer1.weight": torch.ones(2, 2)}, FAMILY) == 2
    assert known_keys({"layer1.weight_orig": torch.ones(2)}, FAMILY) == 0
    assert first_row(ROWS, "", "layer3.weight_orig") is ROWS[0]
    assert first_row(ROWS, "", "layer3.weight") is None
