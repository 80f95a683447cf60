"""The two processes, shared by all tests of a worker."""

import pytest

from tests.support.world import World


@pytest.fixture(scope="session")
def world():
    processes = World()
    yield processes
    processes.stop()
