"""Several threads in one layer."""

import threading

import torch
from torch import nn

from tests.support.mechanisms import close, common_hook, x


class Meeting(nn.Linear):
    """Waits, in the middle of a forward, until the other thread has begun or ended its own."""

    def __init__(self):
        super().__init__(6, 3)
        self.__dict__["steps"] = {"begun": threading.Event(), "over": threading.Event()}

    def forward(self, inputs):
        if torch.is_grad_enabled():
            self.steps["begun"].set()
            assert self.steps["over"].wait(20)
        return nn.functional.linear(inputs, self.weight, self.bias)


@common_hook("silent")
def test_evaluation_in_the_middle_of_a_training_forward(mechanism):
    """A forward without gradients in another thread does not take them from this one."""
    plain = nn.Linear(6, 3).double()
    model = Meeting().double()
    model.load_state_dict(plain.state_dict())
    model = mechanism.wrap(model)

    def evaluate():
        assert model.steps["begun"].wait(20)
        with torch.no_grad():
            model(x(seed=1))
        model.steps["over"].set()

    thread = threading.Thread(target=evaluate)
    thread.start()
    output, expected = model(x()), plain(x())
    thread.join()
    close(output, expected)
    output.square().sum().backward()
    expected.square().sum().backward()
    mechanism.assert_gradients(model, plain)
