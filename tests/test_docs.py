"""Every example in the README, the docs and the docstrings runs, and prints what it says.

Those that need more packages than the tests do run in integration/test_docs.py.
"""

import doctest
import importlib
import math
import re
from pathlib import Path

import pytest
import torch

import equalized_lr
from equalized_lr import optim
from tests.support import recipes
from tests.support.recipes import MARKDOWN, PAGE, ROOT, Block, blocks

PACKAGE = Path(equalized_lr.__file__).parent
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if ">>>" in path.read_text())
PAGES = recipes.pages(needs_more=False)
RECIPES = recipes.recipes()

NAMES = {"torch": torch, "nn": torch.nn, "math": math}
for package in (equalized_lr, optim):
    NAMES |= {name: getattr(package, name) for name in package.__all__}


def identifier(path):
    return str(path.relative_to(PACKAGE if path.is_relative_to(PACKAGE) else ROOT))


def run_page(path):
    """Runs all blocks of a page, in one namespace."""
    names = dict(NAMES)
    for block in blocks(path):
        block.run(names)


def run_blocks_alone(path):
    """Runs each block of a page as a script of its own."""
    for block in blocks(path):
        block.run_alone()


def failures(text, names):
    """The report on the examples of one docstring, empty if they all print what they say."""
    report = []
    test = doctest.DocTestParser().get_doctest(text, dict(names), "example", None, None)
    doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    return "".join(report)


@pytest.mark.parametrize("path", PAGES, ids=identifier)
def test_code_blocks(path, tmp_path, monkeypatch):
    """Each Python block of a page runs, in the order of the page."""
    monkeypatch.chdir(tmp_path)
    (run_blocks_alone if path in recipes.ALONE else run_page)(path)


def test_the_output_in_the_readme(capsys):
    """It is what the block above it prints, up to what other processors make of it."""
    ((block, output),) = recipes.shown(ROOT / "README.md")
    block.run_alone()
    printed, shown = capsys.readouterr().out.split(), output.split()
    assert len(printed) == len(shown) > 50
    for one, other in zip(printed, shown, strict=True):
        number = re.fullmatch(r"(\d[\d.e-]*)[,:]?", other)
        if number:
            assert float(one.strip(",:")) == pytest.approx(float(number[1]), rel=0.1)
        elif "/" not in other:
            assert one == other
    before, after = map(float, re.findall(r"spread ([\d.]+)", output))
    assert before > 10
    assert after < 3


@pytest.mark.filterwarnings("ignore")  # of torch, about itself
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_recipes(recipe, tmp_path, monkeypatch):
    """Each recipe of works-with.md runs by itself, in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    recipe.run_alone()


def test_no_block_is_left_out():
    """Each runs here, with more packages in integration/, or in two processes in distributed/."""
    for path in MARKDOWN:
        assert len(blocks(path)) == path.read_text().count("```python"), path
    elsewhere = recipes.recipes(needs_more=True), recipes.recipes(two_processes=True)
    assert sum(map(len, (RECIPES, *elsewhere))) == len(blocks(PAGE))
    assert len(elsewhere[1]) == PAGE.read_text().count(recipes.TWO_PROCESSES) > 0


@pytest.mark.parametrize("path", SOURCES, ids=identifier)
def test_docstrings(path):
    """Each docstring's examples print what they say."""
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    module = importlib.import_module(name.removesuffix(".__init__"))
    tests = doctest.DocTestFinder(exclude_empty=True).find(module)
    texts = [test.docstring for test in tests if test.examples]
    assert sum(text.count(">>> ") for text in texts) == path.read_text().count(">>> ")
    assert "".join(failures(text, NAMES | vars(module)) for text in texts) == ""


def test_public_names_have_examples():
    """Everything that can be called from the package shows how, but for the hook and warnings."""
    for module in (equalized_lr, optim):
        for name in set(module.__all__) - {
            "EqualizedLR",
            "Fan",
            "LeftAlone",
            "OtherSpread",
            "errors",
        }:
            assert ">>>" in getattr(module, name).__doc__, name


@pytest.mark.parametrize("path", MARKDOWN, ids=identifier)
def test_links_within_the_project_lead_somewhere(path):
    """Relative links and pictures of a page exist, and so do the headings that they name."""
    text = path.read_text()
    below = re.findall(r"^\[.+\]: (\S+)", text, re.MULTILINE)  # `[name]: target`
    for link in re.findall(r"\]\(([^)\s]+)", text) + below:
        if "://" not in link:
            target, _, heading = link.partition("#")
            page = path.parent / target if target else path
            assert page.exists(), target
            assert not heading or heading in anchors(page), link


def anchors(page):
    """The names of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_a_wrong_example_is_seen(tmp_path):
    """Negative control: an example that prints something else, asserts or lacks a name fails."""
    assert "Got:\n    2" in failures(">>> 1 + 1\n3\n", {})
    page = tmp_path / "wrong.md"
    page.write_text("```python\nassert 1 + 1 == 3\n```\n")
    with pytest.raises(AssertionError):
        run_page(page)
    with pytest.raises(NameError):
        Block(page, "", "nn.Linear(1, 1)").run_alone()
