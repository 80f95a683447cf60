"""A model with every kind of weight, its plain twin, and what must be the same of both.

All constants are powers of two, so that the effective weights of both are equal bit for bit.
Outputs and gradients are equal up to rounding: matrix products depend on where their operands lie.
"""

import copy

import torch
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition
from torch import nn

from equalized_lr import fans, plain_state_dict
from equalized_lr.layer.caching import current_cache
from equalized_lr.layer.hook import scales_of
from tests.support.assertions import assert_equal

TOKENS = torch.arange(6).reshape(3, 2)


class Odd(nn.Linear):
    """Reads its weight twice, and fails on demand in between."""

    fails = None

    def forward(self, x):
        first = nn.functional.linear(x, self.weight)
        if self.fails:
            raise self.fails
        return first + super().forward(x)


class Model(nn.Module):
    """A tied embedding, attention, a recurrent layer, a convolution, and a layer of its own."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(6, 4)
        self.attend = nn.MultiheadAttention(4, 2)
        self.recur = nn.GRU(4, 4)
        self.mix = nn.Conv1d(4, 4, 3, padding=1, groups=2)
        self.odd = Odd(4, 4)
        self.head = nn.Linear(4, 6, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        x = self.embed(tokens)
        x = x + self.attend(x, x, x)[0]
        x = self.recur(x)[0]
        x = self.mix(x.transpose(1, 2)).transpose(1, 2)
        return self.head(torch.tanh(self.odd(x)))


def assert_close(actual, expected, noise=1e-7):
    """Equal up to rounding, in relation to the largest value; a wrong weight is far from that.

    Args:
        actual: what the equalized model gave.
        expected: what the plain one gave.
        noise: what sums that cancel may differ by besides.
    """
    assert (actual - expected).abs().max() <= 1e-4 * expected.abs().max() + noise


powers = st.integers(-3, 3).map(lambda k: 2.0**k)
LAYERS = ("attend", "recur", "mix", "odd")
layers = st.sampled_from(LAYERS)
subtrees = st.sampled_from([*LAYERS, ""])
matrices = st.sampled_from(["odd", "mix", "recur"])
weights = layers.flatmap(
    lambda path: st.sampled_from([(path, name) for name in fans(getattr(Model(), path))])
)
parameters = st.sampled_from([name for name, _ in Model().named_parameters()])


class Twins(RuleBasedStateMachine):
    """Two models, and what is compared after every rule."""

    @initialize(seed=st.integers(0, 1000))
    def build(self, seed):
        torch.manual_seed(seed)
        self.plain = Model()
        self.equalized = copy.deepcopy(self.plain)
        self.blocks = []

    def teardown(self):
        while getattr(self, "blocks", None):
            self.blocks.pop().__exit__(None, None, None)
        assert current_cache() is None

    def both(self):
        return self.plain, self.equalized

    def pairs(self):
        """Each plain parameter beside the stored one and its constant."""
        for path, parameter in self.plain.named_parameters():
            layer, _, name = path.rpartition(".")
            layer = self.equalized.get_submodule(layer)
            scale = scales_of(layer).get(name)
            stored = name if scale is None else f"{name}_orig"
            yield parameter, layer.get_parameter(stored), scale or 1.0

    def assert_gradients(self):
        triples = list(self.pairs())
        largest = max([p.grad.abs().max() for p, *_ in triples if p.grad is not None], default=0)
        for parameter, stored, scale in triples:
            assert (parameter.grad is None) == (stored.grad is None)
            if parameter.grad is not None:
                assert_close(stored.grad / scale, parameter.grad, noise=1e-6 * largest)

    def backward(self, loss_of):
        """Gradients of a loss in both models; the plain ones make a bounded step in both."""
        for model in self.both():
            model.zero_grad()
            loss_of(model).backward()
        self.assert_gradients()
        with torch.no_grad():
            for parameter, stored, scale in self.pairs():
                if parameter.grad is not None:
                    step = parameter.grad / parameter.grad.abs().max().clamp(min=1) / 8
                    parameter.sub_(step)
                    stored.sub_(step / scale)

    @precondition(lambda self: hasattr(self, "plain"))
    @invariant()
    def weights_agree(self):
        for name, parameter in self.plain.named_parameters(remove_duplicate=False):
            module, _, own = name.rpartition(".")
            weight = getattr(self.equalized.get_submodule(module), own)
            assert_equal(weight, parameter)
            assert weight.requires_grad == parameter.requires_grad

    @precondition(lambda self: hasattr(self, "plain"))
    @invariant()
    def gradients_agree(self):
        self.assert_gradients()

    @precondition(lambda self: hasattr(self, "plain"))
    @invariant()
    def names_and_ties_agree(self):
        names = [name.removesuffix("_orig") for name in self.equalized.state_dict()]
        assert names == list(self.plain.state_dict())
        own = [name.removesuffix("_orig") for name, _ in self.equalized.named_parameters()]
        assert own == [name for name, _ in self.plain.named_parameters()]

    @precondition(lambda self: hasattr(self, "plain"))
    @invariant()
    def plain_states_agree(self):
        state = plain_state_dict(self.equalized)
        assert list(state) == list(self.plain.state_dict())
        for name, value in self.plain.state_dict().items():
            assert_equal(state[name], value)
