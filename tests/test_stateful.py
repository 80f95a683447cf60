"""An equalized model and a plain twin go through the same random life, and never differ.

More steps: HYPOTHESIS_PROFILE=thorough python -m pytest tests/test_stateful.py
"""

import threading

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule
from torch import nn
from torch.func import functional_call
from torch.optim.swa_utils import AveragedModel
from torch.utils.checkpoint import checkpoint

from equalized_lr import cached, fans
from tests.support.twin_structure import Structure
from tests.support.twins import TOKENS, assert_close, matrices, parameters


def matrices_of(model):
    for layer in (model.embed, model.attend.out_proj, model.mix, model.odd, model.head):
        yield layer.weight
    yield model.recur.weight_hh_l0


class Life(Structure):
    """Values in, values out."""

    @rule(mode=st.sampled_from([torch.enable_grad, torch.no_grad, torch.inference_mode]))
    def forward(self, mode):
        with mode():
            assert_close(self.equalized(TOKENS), self.plain(TOKENS))

    @rule()
    def step(self):
        if self.trains():
            self.backward(lambda model: model(TOKENS).square().sum())

    @rule(reentrant=st.booleans())
    def step_with_checkpoints(self, reentrant):
        def loss_of(model):
            x = model.embed(TOKENS).detach().requires_grad_()
            inner = lambda x: torch.tanh(model.odd(model.attend(x, x, x)[0]))  # noqa: E731
            hidden = checkpoint(inner, x, use_reentrant=reentrant)
            return checkpoint(model.head, hidden, use_reentrant=reentrant).square().sum()

        self.backward(loss_of)

    @rule()
    def step_on_weights(self):
        """A penalty, outside of any forward."""
        if self.trains():
            self.backward(lambda model: sum(weight.square().sum() for weight in matrices_of(model)))

    def trains(self):
        return all(p.requires_grad for p in (self.plain.embed.weight, self.plain.head.weight))

    @rule()
    def set_gradients(self):
        for parameter, stored, scale in self.pairs():
            parameter.grad = torch.ones_like(parameter)
            stored.grad = torch.ones_like(parameter) * scale

    @rule(path=matrices)
    def assign(self, path):
        name = next(iter(fans(self.plain.get_submodule(path))))
        for model in self.both():
            torch.manual_seed(1)
            layer = model.get_submodule(path)
            value = torch.randn_like(getattr(layer, name))
            setattr(layer, name, nn.Parameter(value.detach().clone()))

    @rule(index=st.integers(0, 100), transposed=st.booleans())
    def swap_data(self, index, transposed):
        """`.data =`, which counts no version, to memory of other strides."""
        pairs = list(self.pairs())
        for parameter in pairs[index % len(pairs)][:2]:
            data = parameter.data * 0.5
            parameter.data = data.mT.contiguous().mT if transposed and data.ndim > 1 else data

    @rule(assign=st.booleans())
    def load_plain(self, assign):
        state = {key: value.detach() * 0.5 for key, value in self.plain.state_dict().items()}
        for model in self.both():
            copies = {key: value.clone() for key, value in state.items()}
            model.load_state_dict(copies, assign=assign)

    @rule(names=st.sets(parameters))
    def load_some(self, names):
        state = {key: value.detach() * 0.5 for key, value in self.plain.state_dict().items()}
        for model in self.both():
            missing = model.load_state_dict(
                {key: value for key, value in state.items() if key in names}, strict=False
            )
            assert not missing.unexpected_keys

    @rule()
    def load_own(self):
        self.equalized.load_state_dict(self.equalized.state_dict())

    @rule(path=matrices)
    def reset(self, path):
        for model in self.both():
            torch.manual_seed(2)
            model.get_submodule(path).reset_parameters()

    @rule()
    def average(self):
        averages = [AveragedModel(model) for model in self.both()]
        for _ in range(2):
            for average, model in zip(averages, self.both(), strict=True):
                average.update_parameters(model)
        assert_close(averages[1](TOKENS), averages[0](TOKENS))

    @rule()
    def call_with_other_values(self):
        given = ({}, {})
        for model, values in zip(self.both(), given, strict=True):
            values |= {name: p.detach() * 0.5 for name, p in model.named_parameters()}
        outputs = [functional_call(m, v, TOKENS) for m, v in zip(self.both(), given, strict=True)]
        assert_close(outputs[1], outputs[0])

    @rule(kind=st.sampled_from([ArithmeticError, KeyboardInterrupt]))
    def fail_in_forward(self, kind):
        for model in self.both():
            model.odd.fails = kind
            with pytest.raises(kind):
                model(TOKENS)
            model.odd.fails = None

    @rule(in_block=st.booleans())
    def two_threads(self, in_block):
        expected, seen = self.plain(TOKENS), []

        def run(mode):
            block = cached() if in_block else torch.enable_grad()
            with block, cached(), mode():
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


TestFewTwins = type("Few", (Life,), {}).TestCase
TestFewTwins.settings = settings(max_examples=4, stateful_step_count=20)
TestTwins = pytest.mark.slow(Life.TestCase)
TestTwins.settings = settings(stateful_step_count=30)
