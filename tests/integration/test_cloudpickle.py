"""cloudpickle, which takes classes of `__main__` by value."""

import cloudpickle
from torch import nn

from tests.support.mechanisms import EQUALIZED, x


def test_a_class_of_the_main_program():
    """A layer whose class goes by value comes back equalized, and computes the same."""
    local = type("Local", (nn.Linear,), {"__module__": "__main__"})
    model, plain = EQUALIZED.twins(local(6, 3))
    EQUALIZED.assert_alike(cloudpickle.loads(cloudpickle.dumps(model)), plain, x())
