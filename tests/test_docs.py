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

ROOT = Path(__file__).parent.parent
MARKDOWN = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCES = sorted((ROOT / "src").rglob("*.py"))

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
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MARKDOWN, ids=identifier)
def test_code_blocks(path):
    """Each Python block of a page runs, in the order of the page."""
    blocks = len(re.findall(r"^```python", path.read_text(), re.MULTILINE))
    assert run(markdown, path) == blocks


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
    """Relative links and pictures of a page exist."""
    for target in re.findall(r"\]\(([^)#\s]+)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target


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
