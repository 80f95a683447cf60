"""The examples run from beginning to end, in small, and their claims are checked."""

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"


def run(*arguments):
    """Runs an example as a user does."""
    command = [sys.executable, EXAMPLES / arguments[0], *map(str, arguments[1:])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def number(report, label):
    """The number that a report prints behind a label."""
    (line,) = [line for line in report.splitlines() if label in line]
    return float(line.split()[-1])


@pytest.mark.parametrize("weights", ["equalized", "he", "default"])
def test_progressive_gan(tmp_path, weights):
    """A few steps write all files, and the exported generator gives the same images."""
    report = run("progressive_gan.py", "--steps", 12, "--out", tmp_path, "--weights", weights)
    assert {path.name for path in tmp_path.iterdir()} == {
        "samples.png",
        "relative_steps.png",
        "generator.pt2",
    }
    assert number(report, "largest difference of the exported images") < 1e-4
    assert number(report, "classifier, right on held-out real images") > 0.5
    exported = torch.export.load(tmp_path / "generator.pt2").module()
    assert exported(torch.randn(3, 16)).shape == (3, 1, 28, 28)


def test_progressive_gan_shows_equal_speeds(tmp_path):
    """Over a few dozen steps layers differ little in speed when equalized, and a lot when not."""
    report = run("progressive_gan.py", "--steps", 60, "--out", tmp_path, "--quiet")
    assert number(report, "fastest / slowest layer, equalized") < 5
    assert number(report, "fastest / slowest layer, he") > 15


def test_progressive_gan_on_idx_files(tmp_path):
    """`--data` reads a folder in MNIST's own format, packed or not."""
    images = np.random.default_rng(0).integers(0, 256, (1200, 28, 28), np.uint8)
    header = bytes([0, 0, 8, 3]) + np.array(images.shape, ">i4").tobytes()
    packed = gzip.compress(header + images.tobytes())
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(packed)
    labels = bytes([0, 0, 8, 1]) + np.array([1200], ">i4").tobytes() + bytes(range(10)) * 120
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(labels)
    out = tmp_path / "out"
    run("progressive_gan.py", "--steps", 3, "--out", out, "--data", tmp_path, "--quiet")
    assert (out / "samples.png").stat().st_size > 1000


@pytest.mark.parametrize("folder", ["missing", "."])
def test_a_folder_without_digits_is_an_error(tmp_path, folder):
    """A folder that holds no idx files ends with a sentence, not with a traceback."""
    command = [sys.executable, EXAMPLES / "progressive_gan.py", "--data", tmp_path / folder]
    done = subprocess.run(
        [*command, "--out", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "There is no train-images" in done.stderr
    assert "Traceback" not in done.stderr
