"""The recipes of docs/works-with.md that need two processes run in two."""

import pytest

from tests.support.recipes import PAGE, Block, recipes, run_in_rank

pytestmark = pytest.mark.slow

RECIPES = recipes(two_processes=True)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_recipe(world, recipe, tmp_path):
    """A recipe runs in both processes, as under torchrun, and its assertions hold in both."""
    world.run(run_in_rank, recipe, str(tmp_path))


def test_a_wrong_recipe_is_seen(monkeypatch, tmp_path):
    """Negative control: a failing assertion of a recipe fails."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError):
        run_in_rank(0, Block(PAGE, "", "assert 1 + 1 == 3"), tmp_path)
