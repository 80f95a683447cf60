"""Tables of 80 columns."""

import torch

from equalized_lr.checkpoint import explain
from equalized_lr.checkpoint.listing import in_ascii, tensors_table

STORED = {"style.1.weight": torch.ones(4, 4), "conv1.noise.weight": torch.ones(1)}


def test_an_explanation_is_a_sequence_that_prints_itself():
    """Rows for programs, a table for people; on the way back the factor is 1 / c."""
    explanation = explain(STORED, "rosinality-stylegan2")
    assert [row.scale for row in explanation] == [0.005, None]
    assert len(explanation) == 2
    assert explanation[0].key == explanation[:1][0].key == "style.1.weight"
    assert str(explanation).splitlines() == [
        "key                                  shape             factor what",
        "style.1.weight                       4x4                0.005 mapping",
        "conv1.noise.weight                   1                      - noise strength",
        "1 scaled, 1 left alone",
    ]
    back = str(explain(STORED, "rosinality-stylegan2", back=True))
    assert back.splitlines()[1].split()[2] == "200"


def test_a_table_of_any_tensors():
    """Deviations where there are any, and 80 columns of ASCII whatever the names are."""
    tensors = {
        "x" * 10_000: torch.tensor([1.0, 3.0]),
        "ü\n\u2028": torch.ones(2, dtype=torch.bool),
        "meta": torch.ones(2, device="meta"),
        "one": torch.tensor(1.0),
        "whole": torch.tensor([1, 3]),
    }
    lines = tensors_table(tensors).splitlines()
    assert len(lines) == 6
    assert max(map(len, lines)) <= 80
    assert all(line.isascii() for line in lines)
    assert [line.split()[-2] for line in lines[1:]] == ["1.414", "-", "-", "-", "1.414"]


def test_one_line_of_ascii():
    """Line breaks, accents and half characters of file names are written out."""
    assert in_ascii("a\nü\udcff\\d") == r"a\n\xfc\udcff\d"
