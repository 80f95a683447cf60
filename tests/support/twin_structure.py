"""Rules that change what the twins are: equalizing, giving back, tying, copying, converting."""

import copy
import pickle

import pytest
import torch
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from torch import nn

from equalized_lr import cached, equalize_lr, errors, fans, is_equalized, remove_equalized_lr
from equalized_lr.layer.hook import scales_of
from tests.support.twins import Twins, layers, powers, subtrees, weights


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
        if any(ends) and (not all(ends) or scales_of(embed) != scales_of(head)):
            with pytest.raises((errors.EqualizedLRError, ValueError)):  # torch's, of no leaf
                head.weight = embed.weight
            return
        head.weight = embed.weight
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
