"""An equalized model and a plain twin go through the same random life, and never differ.

More steps: HYPOTHESIS_PROFILE=thorough python -m pytest tests/test_stateful.py
"""

import copy
import pickle
import threading

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from torch import nn
from torch.func import functional_call
from torch.optim.swa_utils import AveragedModel
from torch.utils.checkpoint import checkpoint

from equalized_lr import cached, equalize_lr, errors, fans, is_equalized, remove_equalized_lr
from equalized_lr.hook import scales_of
from twins import (
    TOKENS,
    Twins,
    assert_close,
    layers,
    matrices,
    parameters,
    powers,
    subtrees,
    weights,
)


class Structure(Twins):
    """Equalizing, giving back, tying and copying."""

    @property
    def tied(self):
        return self.plain.head.weight is self.plain.embed.weight

    @rule(path=subtrees, gain=powers, lr_mul=st.sampled_from([1.0, 0.5]))
    def wrap(self, path, gain, lr_mul):
        root = self.equalized.get_submodule(path)
        for module in list(root.modules()):
            for name in fans(module):
                if not is_equalized(module, name) and module is not self.equalized.head:
                    equalize_lr(module, name, fan=1, gain=gain, lr_mul=lr_mul, init="keep")
        if path == "" and not is_equalized(self.equalized.head):
            # A tie has to be made in one call; it gets 1 / sqrt(4), times the gain.
            where = lambda name, _: name == "head"  # noqa: E731
            equalize_lr(self.equalized, where=where, gain=gain, init="keep")

    @rule(path=subtrees)
    def remove(self, path):
        root = self.equalized.get_submodule(path)
        if any(map(is_equalized, root.modules())):
            remove_equalized_lr(root)

    @rule(weight=weights)
    def remove_one(self, weight):
        path, name = weight
        layer = self.equalized.get_submodule(path)
        if is_equalized(layer, name):
            remove_equalized_lr(layer, name)

    @rule()
    def remove_the_head(self):
        if not is_equalized(self.equalized.head):
            return
        if self.tied:
            with pytest.raises(errors.TiedElsewhere):
                remove_equalized_lr(self.equalized.head)
        else:
            remove_equalized_lr(self.equalized.head)

    @rule()
    def untie(self):
        value = self.plain.head.weight.detach() * 0.5
        if is_equalized(self.equalized.head) and self.tied:
            with pytest.raises(errors.TiedAssignment):
                self.equalized.head.weight = nn.Parameter(value)
            scale = scales_of(self.equalized.head)["weight"]
            self.equalized.head.weight_orig = nn.Parameter(value / scale)
        else:
            self.equalized.head.weight = nn.Parameter(value.clone())
        self.plain.head.weight = nn.Parameter(value)

    @rule()
    def tie(self):
        """Where torch's way of tying is not right, it is refused."""
        embed, head = self.equalized.embed, self.equalized.head
        ends = is_equalized(embed), is_equalized(head)
        if not any(ends):
            head.weight = embed.weight
        else:
            with pytest.raises((errors.NotAssignable, errors.TiedElsewhere, TypeError)):
                head.weight = embed.weight
            if not all(ends) or scales_of(embed) != scales_of(head):
                return
            head.weight_orig = embed.weight_orig
        self.plain.head.weight = self.plain.embed.weight

    @rule(how=st.sampled_from([copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]))
    def copied(self, how):
        self.plain, self.equalized = map(how, self.both())

    @rule(dtype=st.sampled_from([torch.float32, torch.float64]))
    def convert(self, dtype):
        for model in self.both():
            model.to(dtype)

    @rule(path=layers, on=st.booleans())
    def freeze(self, path, on):
        for model in self.both():
            model.get_submodule(path).requires_grad_(on)

    @rule(index=st.integers(0, 100), on=st.booleans())
    def freeze_one(self, index, on):
        pairs = list(self.pairs())
        for parameter in pairs[index % len(pairs)][:2]:
            parameter.requires_grad_(on)

    @rule(train=st.booleans())
    def train(self, train):
        for model in self.both():
            model.train(train)

    @rule()
    def enter_cached(self):
        self.blocks.append(cached())
        self.blocks[-1].__enter__()

    @precondition(lambda self: self.blocks)
    @rule()
    def leave_cached(self):
        self.blocks.pop().__exit__(None, None, None)


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


TestTwins = Life.TestCase
TestTwins.settings = settings(stateful_step_count=30)
