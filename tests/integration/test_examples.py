"""The examples run from beginning to end, in small, and their claims are checked."""

import ast
import gzip
import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support import recipes

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def run(*arguments):
    """Runs an example as a user does."""
    command = [sys.executable, EXAMPLES / arguments[0], *map(str, arguments[1:])]
    alone = os.environ | {"OMP_NUM_THREADS": "1"}  # beside the other workers of the tests
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=alone)
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


def table_of(text):
    """The cells of a Markdown table, by the first one of each row."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {cells[0]: cells[1:] for cells in rows}


def test_the_optimizer_table_is_that_of_the_docs():
    """The page has the powers that the library has, and the errors are as small as it says."""
    page = (EXAMPLES.parent / "optimizers.md").read_text()
    stated = table_of(page.partition("<!-- optimizer table -->")[2].partition("<!-- end -->")[0])
    measured = table_of(run("optimizer_table.py"))
    assert list(stated) == list(measured)
    for name, cells in measured.items():
        assert cells[:-2] == stated[name][:-2], name
        for row in (cells, stated[name]):
            if name not in ("optimizer", "---"):
                assert max(map(float, row[-2:])) < (0.2 if name == "Muon" else 1e-13), name


def test_width_transfer(tmp_path):
    """A few steps at two widths: the picture is there, and wide plain nets want smaller rates."""
    more = ("--widths", 32, 256, "--steps", 12, "--out", tmp_path, "--quiet")
    table = table_of(run("width_transfer.py", *more))
    assert (tmp_path / "width_transfer.png").stat().st_size > 1000
    best = {
        form: [int(cell.split()[0].removeprefix("2^")) for cell in cells]
        for form, cells in table.items()
        if cells[0].startswith("2^")
    }
    assert best["plain"][1] < best["plain"][0]
    assert abs(best["lr_mul = fan ** -0.5"][1] - best["lr_mul = fan ** -0.5"][0]) <= 1


@pytest.fixture
def gan_training(monkeypatch):
    """The example's module, in double precision."""
    monkeypatch.syspath_prepend(EXAMPLES)
    torch.set_default_dtype(torch.float64)
    yield importlib.import_module("gan_training")
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("eps", [1e-8, 1e-30])
def test_the_forms_draw_the_same_digits(gan_training, monkeypatch, eps):
    """From one seed: explicit and implicit up to rounding, LREQAdam too where eps is too small."""
    monkeypatch.setitem(gan_training.ADAM, "eps", eps)
    images, pictures = torch.rand(64, 1, 28, 28), {}
    for form in ("explicit", "implicit", "lreqadam"):
        torch.manual_seed(0)
        run = gan_training.train(images, 12, "equalized", 0.01, form, quiet=True)
        pictures[form] = run.samples[28]
    # Twelve steps of a game of two networks amplify rounding, and gradients are as small as eps.
    assert (pictures["implicit"] - pictures["explicit"]).abs().max() < 1e-9
    apart = (pictures["lreqadam"] - pictures["explicit"]).abs().max()
    assert apart < 1e-9 if eps < 1e-20 else apart > 1e-6


@pytest.mark.parametrize("form", ["implicit", "lreqadam"])
def test_progressive_gan_in_other_forms(tmp_path, form):
    """The whole example runs in each form."""
    report = run("progressive_gan.py", "--steps", 12, "--out", tmp_path, "--form", form, "--quiet")
    assert f"{form} form" in report
    assert number(report, "largest difference of the exported images") < 1e-4


def test_growth(tmp_path):
    """A few layers: all operations are timed, and the picture is there."""
    rows = table_of(run("growth.py", "--layers", 20, 40, "--out", tmp_path))
    assert list(rows) == ["layers", "---", "20", "40"]
    assert all(float(cell) > 0 for cell in rows["40"][1:])
    assert (tmp_path / "growth.png").stat().st_size > 1000


def test_learning_speed(tmp_path):
    """Equalized layers come together in each form, plain ones do not, and the picture is there."""
    report = run("learning_speed.py", "--steps", 40, "--out", tmp_path, "--quiet")
    assert [path.name for path in tmp_path.iterdir()] == ["learning_speed.png"]
    rows = [line.split(" | ") for line in report.splitlines() if line.startswith("| ")][2:]
    spreads = {row[0].removeprefix("| "): float(row[3]) for row in rows}
    assert len(spreads) == 5
    for form in ("equalized, explicit", "equalized, implicit", "LREQAdam"):
        assert spreads[form] < 2
    assert spreads["equalized, explicit"] == spreads["equalized, implicit"]
    assert spreads["plain, He's init"] > 4
    assert "0.weight  Conv2d  16x1x3x3" in report


SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py") if "__main__" in path.read_text())


@pytest.mark.parametrize("name", SCRIPTS)
def test_help(name):
    """Every script says what it does, takes threads and a device, and does nothing else."""
    text = run(name, "--help")
    for option in ("--threads", "--device", "--quiet"):
        assert option in text
    first = ast.get_docstring(ast.parse((EXAMPLES / name).read_text())).splitlines()[0]
    assert first in " ".join(text.split())


def test_the_first_block_of_the_readme_trains_well():
    """With its rates it reaches at least what the plain network reaches; at 0.001 it does not."""
    report = run("first_block.py", "--seeds", 2)
    plain, translated, same = (float(line.split()[-1]) for line in report.splitlines())
    # One point is the standard error of an accuracy over 2000 answers.
    assert translated > plain - 0.01
    assert same < plain - 0.05


def test_the_first_block_is_that_of_the_readme():
    """The network that is measured and the one that is shown have the same layers and rate."""
    block = recipes.blocks(recipes.ROOT / "README.md")[0].source
    names = {}
    exec(block.partition("images, labels")[0], names)
    sys.path.insert(0, str(EXAMPLES))
    try:
        net, rate = importlib.import_module("first_block").build("equalized, translated rate")
    finally:
        sys.path.remove(str(EXAMPLES))
    assert repr(names["model"]) == repr(net)
    assert names["optimizer"].defaults["lr"] == rate
    assert "lr=1e-3)\n" in block.partition("equalize_lr(model)")[0]


def test_stylegan2():
    """One call equalizes every weight of a StyleGAN2 generator, its modulated kernels too."""
    report = run("stylegan2.py", "--size", 16)
    rows = [line.split() for line in report.splitlines()]
    kernels = {row[0]: row[3:6] for row in rows if row and row[0].endswith(".kernel")}
    assert len(kernels) == 5 + 3
    assert kernels["convs.0.kernel"][:2] == ["576", "0.0417"]  # 1 / 24
    assert 0.9 < float(kernels["convs.0.kernel"][2]) < 1.1
    assert "left alone: not contracted" in report
    assert 0.3 < float(report.split()[-1]) < 3


def test_rates(tmp_path):
    """A few steps: every point is kept, and a second call trains nothing and tells the same."""
    small = ("--tasks", "LSTM", "--seeds", 1, "--steps", 2, "--workers", 1)
    first = run("rates.py", *small, "--out", tmp_path, "--quiet")
    kept = (tmp_path / "rates.csv").read_text()
    assert len(kept.splitlines()) == 8 + 8 + 7
    assert (tmp_path / "rates.png").stat().st_size > 1000
    assert run("rates.py", *small, "--out", tmp_path, "--quiet") == first
    assert (tmp_path / "rates.csv").read_text() == kept


def test_the_tables_of_rates_are_those_of_the_docs(tmp_path):
    """The page has what the kept results say."""
    (tmp_path / "rates.csv").write_text((EXAMPLES.parent / "rates.csv").read_text())
    report = run("rates.py", "--seeds", 0, "--out", tmp_path, "--quiet")
    page = (EXAMPLES.parent / "rates.md").read_text()
    for table in report.strip().split("\n\n"):
        assert table in page
