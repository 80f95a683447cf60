"""Every example in the README, the docs and the docstrings runs, and prints what it says."""

import math
import re
from pathlib import Path

import pytest
import torch
from sybil import Sybil
from sybil.document import PythonDocStringDocument
from sybil.example import SybilFailure
from sybil.parsers.markdown import PythonCodeBlockParser
from sybil.parsers.rest import DocTestParser

import equalized_lr
from equalized_lr import optim
from tests.support import recipes

ROOT = Path(__file__).parent.parent
MARKDOWN = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
SCRIPTS = [path for path in MARKDOWN if path != recipes.PAGE]
PACKAGE = Path(equalized_lr.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))

markdown = Sybil(parsers=[PythonCodeBlockParser(doctest_optionflags=0)])
docstrings = Sybil(
    parsers=[DocTestParser()], document_types={".py": PythonDocStringDocument}, pattern="*.py"
)


def run(sybil, path):
    """Runs all examples of a file, in one namespace, and says how many there were."""
    document = sybil.parse(path)
    names = {"torch": torch, "nn": torch.nn, "math": math}
    for module in (equalized_lr, optim):
        names |= {name: getattr(module, name) for name in module.__all__}
    document.namespace.update(names)
    examples = list(document.examples())
    for example in examples:
        example.evaluate()
    return len(examples)


def identifier(path):
    return str(path.relative_to(PACKAGE if path.is_relative_to(PACKAGE) else ROOT))


def blocks(path):
    return len(re.findall(r"^```python", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", SCRIPTS, ids=identifier)
def test_code_blocks(path, tmp_path, monkeypatch):
    """Each Python block of a page runs, in the order of the page."""
    monkeypatch.chdir(tmp_path)
    assert run(markdown, path) == blocks(path)


RECIPES = recipes.recipes(two_processes=False)


@pytest.mark.filterwarnings("ignore")  # of the other libraries, about themselves
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_recipes(recipe, tmp_path, monkeypatch):
    """Each recipe of works-with.md runs by itself, in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    recipes.run_alone(recipe)


def test_no_recipe_is_left_out():
    """Each block runs here, or in two processes in distributed/test_recipes.py."""
    in_two_processes = recipes.recipes(two_processes=True)
    assert len(RECIPES) + len(in_two_processes) == blocks(recipes.PAGE)
    assert len(in_two_processes) == recipes.PAGE.read_text().count(recipes.TWO_PROCESSES) > 0


@pytest.mark.parametrize("path", SOURCES, ids=identifier)
def test_docstrings(path):
    """Each docstring's examples print what they say."""
    assert run(docstrings, path) >= (1 if ">>>" in path.read_text() else 0)


def test_public_names_have_examples():
    """Everything that can be called from the package shows how, but for the hook itself."""
    for module in (equalized_lr, optim):
        for name in set(module.__all__) - {"EqualizedLR", "Fan", "errors"}:
            assert ">>>" in getattr(module, name).__doc__, name


@pytest.mark.parametrize("path", MARKDOWN, ids=identifier)
def test_links_within_the_project_lead_somewhere(path):
    """Relative links and pictures of a page exist, and so do the headings that they name."""
    for link in re.findall(r"\]\(([^)\s]+)", path.read_text()):
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
    """Negative control: an example that prints something else fails."""
    page = tmp_path / "wrong.txt"
    page.write_text(">>> 1 + 1\n3\n")
    with pytest.raises(SybilFailure, match="Got:\n    2"):
        run(Sybil(parsers=[DocTestParser()]), page)
    page = tmp_path / "wrong.md"
    page.write_text("```python\nassert 1 + 1 == 3\n```\n")
    with pytest.raises(AssertionError):
        run(markdown, page)
    page.write_text("```python\nnn.Linear(1, 1)\n```\n")
    (recipe,) = markdown.parse(page).examples()
    with pytest.raises(NameError):
        recipes.run_alone(recipe)
