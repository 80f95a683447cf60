"""Law 12: a write is a write. An equalized layer and its plain twin stay the same function.

Random writes, reads, forwards, steps, copies and saves happen to both. All constants are powers of
two, so that everything is the same to the last bit.
"""

import copy
import gc

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from torch import nn

from equalized_lr import cached, equalize_lr
from tests.support.assertions import assert_equal

X = torch.arange(8.0).reshape(2, 4) / 8


class Normalized(nn.Linear):
    """Halves its own weight in each forward in training."""

    def forward(self, x):
        weight = self.weight
        if self.training:
            with torch.no_grad():
                self.weight.mul_(0.5)
        return nn.functional.linear(x, weight, self.bias)


def init_through_data(module):
    if hasattr(module, "weight"):
        nn.init.constant_(module.weight.data, 0.25)


def init_in_place(module):
    if hasattr(module, "weight"):
        nn.init.constant_(module.weight, 0.5)


WRITES = {
    "fill": lambda w: w.fill_(0.5),
    "scale": lambda w: w.mul_(2.0),
    "clamp": lambda w: w.clamp_(-0.5, 0.5),
    "row": lambda w: w[0].zero_(),
    "transposed": lambda w: w.t()[1].fill_(0.25),
    "copy": lambda w: w.copy_(w.flip(0)),
    "detached": lambda w: w.detach().neg_(),
}
FUNCTIONS = {"data": init_through_data, "in place": init_in_place, "read": repr}


class Lives(RuleBasedStateMachine):
    """The lives of two networks; `held` are weights that somebody has read and keeps."""

    twin = staticmethod(lambda net: equalize_lr(copy.deepcopy(net), init="keep", gain=1.0, fans={}))

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        plain = nn.Sequential(nn.Linear(4, 4), Normalized(4, 4), nn.Linear(4, 4))
        for parameter in plain.parameters():
            parameter.data = torch.randint(-4, 5, parameter.shape) / 8
        plain[2].weight = plain[0].weight
        self.nets = [plain, self.twin(plain)]
        self.held = {}

    def each(self, action):
        return [action(net) for net in self.nets]

    @rule(index=st.sampled_from([0, 1, 2]), way=st.sampled_from(sorted(WRITES)))
    def write(self, index, way):
        with torch.no_grad():
            self.each(lambda net: WRITES[way](net[index].weight))

    @rule(index=st.sampled_from([0, 1, 2]))
    def hold(self, index):
        self.held[index] = self.each(lambda net: net[index].weight)

    @rule(index=st.sampled_from([0, 1, 2]), way=st.sampled_from(sorted(WRITES)))
    def write_into_what_is_held(self, index, way):
        if index in self.held:
            with torch.no_grad():
                for weight in self.held[index]:
                    WRITES[way](weight)

    @rule(way=st.sampled_from(sorted(FUNCTIONS)))
    def apply(self, way):
        self.held.clear()
        self.each(lambda net: net.apply(FUNCTIONS[way]))

    @rule(train=st.booleans(), inside=st.booleans())
    def forward(self, train, inside):
        if inside:
            with cached():
                outputs = self.each(lambda net: net.train(train)(X) + net(X))
        else:
            outputs = self.each(lambda net: net.train(train)(X))
        assert_equal(*(output.detach() for output in outputs))

    @rule(function=st.sampled_from(["deepcopy", "load", "double and back"]))
    def go_on_as_another(self, function):
        if function == "deepcopy":
            self.nets = self.each(copy.deepcopy)
            self.held.clear()
        elif function == "load":
            self.each(lambda net: net.load_state_dict(copy.deepcopy(net.state_dict())))
        else:
            self.held.clear()
            self.each(lambda net: net.double().float())

    @rule()
    def step(self):
        for net in self.nets:
            for layer in (net[0], net[1]):
                raw = next(layer.parameters())
                scale = 1.0 if raw is layer._parameters.get("weight") else 0.5
                raw.grad = torch.full_like(raw, 0.125 / scale)
            torch.optim.SGD(net.parameters(), lr=1.0).step()
            net.zero_grad()

    @invariant()
    def what_is_held_is_the_weight(self):
        for weights in self.held.values():
            assert_equal(*(weight.detach() for weight in weights))

    @invariant()
    def the_same_function(self):
        for index in range(3):
            assert_equal(*(net[index].weight.detach() for net in self.nets))


def lives(examples):
    return settings(max_examples=examples, stateful_step_count=20)


def test_a_write_is_a_write():
    """No random life tells the two apart."""
    run_state_machine_as_test(Lives, settings=lives(40))


@pytest.mark.slow
def test_a_write_is_a_write_in_many_lives():
    """The same, ten times as often."""
    run_state_machine_as_test(Lives, settings=lives(400))
    gc.collect()


def test_the_law_would_see_a_lost_write():
    """Negative control: torch's parametrization loses writes, and is found out."""

    class Half(nn.Module):
        def forward(self, weight):
            return weight / 2

        def right_inverse(self, weight):
            return weight * 2

    class Lost(Lives):
        @staticmethod
        def twin(net):
            net = copy.deepcopy(net)
            for layer in net:
                nn.utils.parametrize.register_parametrization(layer, "weight", Half())
            return net

    with pytest.raises(AssertionError, match="apart"):
        run_state_machine_as_test(Lost, settings=settings(lives(40), database=None))
