"""Law 1: at every read the weight is c times the stored weight.

- before the first forward, between forwards, after the stored weight changed;
- inside a forward, where all reads give one tensor;
- after an exception, and in another thread.
"""

import copy
import math
from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from equalized_lr import equalize_lr, fans, he_scales
from equalized_lr.layer.hook import hook_of
from tests.support.assertions import assert_equal
from tests.support.reference import CommonHook, computed_with, he_constant
from tests.support.strategies import gains, lr_muls, samples


def assert_live(layer):
    """Every equalized parameter is c * w, bit for bit, and differentiable if w is."""
    for name, scale in he_scales(layer).items():
        weight, raw = attrgetter(name, f"{name}_orig")(layer)
        assert_equal(weight, raw * scale)
        assert weight.requires_grad == raw.requires_grad


def disturb(layer):
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(1.0)


@given(samples(), gains, lr_muls)
def test_before_between_and_after_forwards(sample, gain, lr_mul):
    """A read never sees a weight of before: not at first, not after a step or a no_grad forward."""
    layer = equalize_lr(sample.layer, gain=gain, lr_mul=lr_mul)
    assert_live(layer)
    sample.call()
    disturb(layer)
    assert_live(layer)
    with torch.no_grad():
        sample.call()
        assert_live(layer)
    assert_live(layer)


@given(samples(), gains, lr_muls)
def test_the_constant_is_hes(sample, gain, lr_mul):
    """c is gain / sqrt(fan) * lr_mul in double precision, and lr_mul for biases."""
    layer = equalize_lr(sample.layer, gain=gain, lr_mul=lr_mul)
    known = fans(layer)
    for name, scale in hook_of(layer).scales.items():
        expected = he_constant(known[name].fan_in, gain, lr_mul) if name in known else lr_mul
        assert scale == expected


@given(samples(), lr_muls)
def test_forward_computes_with_the_effective_weights(sample, lr_mul):
    """The layer gives what the plain layer gives with c * w in the place of its weights."""
    twin = copy.deepcopy(sample.layer)
    layer = equalize_lr(sample.layer, init="keep", lr_mul=lr_mul)
    effective = {name: attrgetter(name)(layer) for name in he_scales(layer)}
    assert_equal(sample.call(), sample.call(lambda *x: computed_with(twin, effective, *x)))


class Reader(nn.Linear):
    """A layer that reads its weight three times in one forward and remembers what it saw."""

    def forward(self, x):
        self.__dict__["seen"] = [self.weight, self.weight, self.weight]
        return super().forward(x)


def test_all_reads_of_one_forward_are_one_tensor():
    """Within a forward the weight is computed once; the next forward computes it anew."""
    layer = equalize_lr(Reader(3, 2))
    layer(torch.randn(1, 3))
    first = layer.seen
    assert all(seen is first[0] for seen in first)
    layer(torch.randn(1, 3))
    assert layer.seen[0] is not first[0]
    assert layer.weight is not layer.seen[0]


@given(st.sampled_from([ValueError, KeyboardInterrupt, SystemExit]), st.booleans())
def test_after_an_exception(error, read_first):
    """A forward that ends in an exception, of any kind, leaves no weight behind."""

    class Fails(nn.Linear):
        def forward(self, x):
            if read_first:
                self.__dict__["seen"] = self.weight
            raise error

    layer = equalize_lr(Fails(3, 2))
    with pytest.raises(error):
        layer(torch.randn(1, 3))
    layer.weight_orig.data.mul_(2)  # a write that no version counter sees
    assert_live(layer)


def test_in_other_threads():
    """A forward without gradients in one thread does not take them from another's."""
    layer = equalize_lr(nn.Linear(64, 64, bias=False))
    x = torch.randn(8, 64)

    def run(train):
        with torch.set_grad_enabled(train):
            return all(layer(x).requires_grad == train for _ in range(400))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(run, [True, False, True, False]))


@given(samples(kinds=("Linear", "Conv2d")))
def test_the_law_would_see_the_common_hook(sample):
    """Negative control: the common hook breaks the law at the first read, and after a step."""
    layer = CommonHook.wrap(sample.layer)
    assert not hasattr(layer, "weight")
    sample.call()
    disturb(layer)
    scale = math.sqrt(2 / (layer.weight_orig.shape[1] * layer.weight_orig[0][0].numel()))
    with pytest.raises(AssertionError):
        assert_equal(layer.weight, layer.weight_orig * scale)
