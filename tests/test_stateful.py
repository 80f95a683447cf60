"""An equalized model and a plain twin go through the same random life, and never differ.

All constants are powers of two, so that the effective weights of both are equal bit for bit.
Outputs and gradients are equal up to rounding: matrix products depend on where their operands lie.
More steps: HYPOTHESIS_PROFILE=thorough python -m pytest tests/test_stateful.py
"""

import copy
import pickle
import threading

import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from torch import nn

from assertions import assert_equal
from equalized_lr import equalize_lr, errors, fans, he_scales, is_equalized, remove_equalized_lr

TOKENS = torch.arange(6).reshape(3, 2)


class Odd(nn.Linear):
    """Reads its weight twice, and fails on demand in between."""

    fails = False

    def forward(self, x):
        first = nn.functional.linear(x, self.weight)
        if self.fails:
            raise ArithmeticError
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


def assert_close(actual, expected):
    """Equal up to rounding, in relation to the largest value; a wrong weight is far from that."""
    assert (actual - expected).abs().max() <= 1e-4 * expected.abs().max().clamp(min=1e-3)


powers = st.integers(-3, 3).map(lambda k: 2.0**k)
parts = st.sampled_from(["attend", "recur", "mix", "odd", ""])
matrices = st.sampled_from(["odd", "mix", "recur"])


class Twins(RuleBasedStateMachine):
    """Every rule does one thing to both models; after each, all that can be seen is compared."""

    @initialize(seed=st.integers(0, 1000))
    def build(self, seed):
        torch.manual_seed(seed)
        self.plain = Model()
        self.equalized = copy.deepcopy(self.plain)

    def both(self):
        return self.plain, self.equalized

    def pairs(self):
        """Each plain parameter beside the stored one and its constant."""
        scales = he_scales(self.equalized, where=lambda _, m: is_equalized(m))
        for name, parameter in self.plain.named_parameters():
            stored = f"{name}_orig" if name in scales else name
            yield parameter, self.equalized.get_parameter(stored), scales.get(name, 1.0)

    @rule(path=parts, gain=powers)
    def wrap(self, path, gain):
        root = self.equalized.get_submodule(path)
        for module in list(root.modules()):
            for name in fans(module):
                if is_equalized(module, name) or (module is self.equalized.head):
                    continue
                equalize_lr(module, name, fan=1, gain=gain, init="keep")
        head = self.equalized.head
        if path == "" and not is_equalized(head):
            # The tie has to be made in one call; it gets 1 / sqrt(4), times the gain.
            where = lambda name, _: name == "head"  # noqa: E731
            equalize_lr(self.equalized, where=where, gain=gain, init="keep")

    @rule(path=parts)
    def remove(self, path):
        root = self.equalized.get_submodule(path)
        if any(map(is_equalized, root.modules())):
            remove_equalized_lr(root)

    @rule()
    def remove_half_of_a_tie(self):
        if is_equalized(self.equalized.head):
            try:
                remove_equalized_lr(self.equalized.head)
            except errors.TiedElsewhere:
                return
            raise AssertionError("half of a tie was given back")

    @rule(mode=st.sampled_from([torch.enable_grad, torch.no_grad, torch.inference_mode]))
    def forward(self, mode):
        with mode():
            assert_close(self.equalized(TOKENS), self.plain(TOKENS))

    @rule()
    def step(self):
        for model in self.both():
            model.zero_grad()
            model(TOKENS).square().sum().backward()
        with torch.no_grad():
            for parameter, stored, scale in self.pairs():
                assert (parameter.grad is None) == (stored.grad is None)
                if parameter.grad is not None:
                    assert_close(stored.grad, parameter.grad * scale)
                    parameter.sub_(parameter.grad, alpha=0.125)
                    stored.sub_(parameter.grad / scale, alpha=0.125)

    @rule(path=matrices)
    def assign(self, path):
        name = next(iter(fans(self.plain.get_submodule(path))))
        for model in self.both():
            torch.manual_seed(1)
            layer = model.get_submodule(path)
            value = torch.randn_like(getattr(layer, name))
            setattr(layer, name, nn.Parameter(value.detach().clone()))

    @rule()
    def load_plain(self):
        state = {key: value.detach() * 0.5 for key, value in self.plain.state_dict().items()}
        for model in self.both():
            model.load_state_dict(state)

    @rule()
    def load_own(self):
        self.equalized.load_state_dict(self.equalized.state_dict())

    @rule(how=st.sampled_from([copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]))
    def copied(self, how):
        self.equalized = how(self.equalized)

    @rule(dtype=st.sampled_from([torch.float32, torch.float64]))
    def convert(self, dtype):
        for model in self.both():
            model.to(dtype)

    @rule(train=st.booleans())
    def train(self, train):
        for model in self.both():
            model.train(train)

    @rule(path=st.sampled_from(["attend", "recur", "mix", "odd"]), on=st.booleans())
    def freeze(self, path, on):
        for model in self.both():
            model.get_submodule(path).requires_grad_(on)

    @rule(path=matrices)
    def reset(self, path):
        for model in self.both():
            torch.manual_seed(2)
            model.get_submodule(path).reset_parameters()

    @rule()
    def fail_in_forward(self):
        for model in self.both():
            model.odd.fails = True
            try:
                model(TOKENS)
            except ArithmeticError:
                model.odd.fails = False
        assert not self.equalized.odd.fails

    @rule()
    def two_threads(self):
        expected, seen = self.plain(TOKENS), []

        def run(mode):
            with mode():
                seen.extend(self.equalized(TOKENS) for _ in range(3))

        modes = (torch.no_grad, torch.enable_grad)
        threads = [threading.Thread(target=run, args=(mode,)) for mode in modes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(seen) == 6
        for output in seen:
            assert_close(output, expected)

    @precondition(lambda self: hasattr(self, "plain"))
    @invariant()
    def weights_agree(self):
        for name, parameter in self.plain.named_parameters(remove_duplicate=False):
            module, _, own = name.rpartition(".")
            weight = getattr(self.equalized.get_submodule(module), own)
            assert_equal(weight, parameter)
            assert weight.requires_grad == parameter.requires_grad
        assert self.equalized.embed.weight.shape == self.equalized.head.weight.shape

    @precondition(lambda self: hasattr(self, "plain"))
    @invariant()
    def names_agree(self):
        names = [name.removesuffix("_orig") for name in self.equalized.state_dict()]
        assert names == list(self.plain.state_dict())
        assert len(list(self.equalized.parameters())) == len(list(self.plain.parameters()))


TestTwins = Twins.TestCase
TestTwins.settings = settings(stateful_step_count=30)
