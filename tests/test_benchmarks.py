"""The benchmarks run, in small, and what they say about memory holds on any machine."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"


def run(*arguments):
    """Runs Python beside the tests, and gives what it prints."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTEST_ADDOPTS": ""},
        cwd=BENCHMARKS.parent.parent,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_table():
    """A few rounds give a line for each ratio; peaks of memory meet their targets."""
    parts = ("small_layers", "twenty_scales", "memory")
    report = run("-m", "tests.benchmarks.table", "--threads", 1, "--rounds", 4, "--only", *parts)
    rows = [line.strip("|").split(" | ") for line in report.splitlines() if line.startswith("| ")]
    assert sum(row[0].startswith(" 20 layers of 16") for row in rows) == 10
    ratios = [float(row[2]) for row in rows[1:]]
    assert all(map(math.isfinite, ratios))  # of a few rounds, which say nothing of speed
    memory = [row for row in rows if row[0].startswith(" memory") and "equalized" in row]
    assert [row[4].strip() for row in memory] == ["yes", "yes"]
