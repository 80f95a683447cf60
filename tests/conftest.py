"""Reproducible randomness, one thread per worker, and the settings of the property tests."""

import gc
import os
import random

import hypothesis
import pytest
import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)


class TorchRandom:
    """torch's generator as Hypothesis wants to see it: seeded for each example, then restored."""

    def seed(self, seed):
        torch.manual_seed(seed)

    def getstate(self):
        return torch.get_rng_state()

    def setstate(self, state):
        torch.set_rng_state(state)


TORCH_RANDOM = TorchRandom()
hypothesis.register_random(TORCH_RANDOM)


def pytest_collection_modifyitems(config, items):
    """What an old torch cannot do with plain models either is left out, and counted as such."""
    now = torch.torch_version.TorchVersion(torch.__version__)
    marks = {item: item.get_closest_marker("torch") for item in items}
    old = [item for item in items if marks[item] and now < marks[item].kwargs["since"]]
    if old:
        config.hook.pytest_deselected(items=old)
        items[:] = [item for item in items if item not in old]


def pytest_collection_finish():
    """What was imported is out of sight for searches of the heap, which take most of the time."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish():
    """Classes of dead layers die, too: mutation testing runs the tests again in this process."""
    gc.collect()


slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
# Derandomized in CI, so that anybody can repeat what fails there.
shared = {"deadline": None, "suppress_health_check": slow, "derandomize": "CI" in os.environ}
settings.register_profile("default", max_examples=20, **shared)
settings.register_profile("ci", max_examples=40, **shared)
settings.register_profile(
    "thorough", max_examples=2000, deadline=None, derandomize=False, suppress_health_check=slow
)
settings.register_profile(
    "mutation", max_examples=8, deadline=None, derandomize=True, suppress_health_check=slow
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
    random.seed(0)
