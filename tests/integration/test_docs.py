"""The examples of the docs that need more packages than the tests do."""

import pytest

from tests.support import recipes
from tests.test_docs import identifier, run_blocks_alone, run_page

PAGES = recipes.pages(needs_more=True)
RECIPES = recipes.recipes(needs_more=True)


@pytest.mark.parametrize("path", PAGES, ids=identifier)
def test_code_blocks(path, tmp_path, monkeypatch):
    """Each Python block of a page runs, in the order of the page."""
    monkeypatch.chdir(tmp_path)
    (run_blocks_alone if path in recipes.ALONE else run_page)(path)


@pytest.mark.filterwarnings("ignore")  # of the other libraries, about themselves
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_recipes(recipe, tmp_path, monkeypatch):
    """Each recipe of works-with.md runs by itself, in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    recipe.run_alone()
