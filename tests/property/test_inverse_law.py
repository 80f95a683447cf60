"""Law 2: equalizing with `init="keep"` changes no output, and removing it gives everything back.

- the function: to a few units in the last place, to the last bit if c is a power of two;
- the values: likewise, since w = (weight / c) * c rounds twice;
- names, order, classes, hooks, repr: exactly.
"""

import math

import pytest
import torch
from hypothesis import given
from torch import nn

from equalized_lr import equalize_lr, fans, he_scales, remove_equalized_lr
from tests.support.assertions import Snapshot, assert_equal, assert_ulps
from tests.support.strategies import dtypes, float64_samples, gains, lr_muls, powers_of_two, samples

# weight / c and then times c: two roundings of half a unit each, and the value may sit just above a
# power of two, where the unit of the result is half that of the intermediate: at most 2 units.
ROUND_TRIP = 2


@given(samples(), gains, lr_muls)
def test_there_and_back(sample, gain, lr_mul):
    """After removal each weight differs by two roundings at most."""
    before = {name: p.detach().clone() for name, p in sample.layer.named_parameters()}
    remove_equalized_lr(equalize_lr(sample.layer, init="keep", gain=gain, lr_mul=lr_mul))
    for name, parameter in sample.layer.named_parameters():
        for now, was in zip(parameter.detach().flatten(), before[name].flatten(), strict=True):
            assert_ulps(now, was, ROUND_TRIP)


@given(samples(), powers_of_two)
def test_powers_of_two_bring_every_bit_back(sample, scale):
    """If c is a power of two, nothing at all changes: a snapshot of everything is the same."""
    snapshot, expected = Snapshot(sample.layer), sample.call()
    for module in sample.layer.modules():
        for name in fans(module):
            equalize_lr(module, name, init="keep", gain=scale, fan=1)
    assert set(he_scales(sample.layer).values()) == {scale}
    assert_equal(sample.call(), expected)
    remove_equalized_lr(sample.layer)
    snapshot.assert_unchanged()
    assert_equal(sample.call(), expected)


@given(float64_samples(), gains, lr_muls)
def test_the_function_is_kept(sample, gain, lr_mul):
    """A trained layer computes what it did, and so it does after removal."""
    expected = sample.call()
    equalize_lr(sample.layer, init="keep", gain=gain, lr_mul=lr_mul)
    # At most 54 products are summed in a response, recurrent layers repeat that over 3 steps, with
    # slopes below 1: errors of 2 units each add up to a few hundred at the very most.
    assert_ulps(sample.call(), expected, 500)
    remove_equalized_lr(sample.layer)
    assert_ulps(sample.call(), expected, 500)


@given(samples(), lr_muls)
def test_structure_comes_back_whatever_init(sample, lr_mul):
    """Objects, order, classes, hooks and repr after removal are those of before."""
    snapshot = Snapshot(sample.layer)
    remove_equalized_lr(equalize_lr(sample.layer, lr_mul=lr_mul))
    for _, parameter in sample.layer.named_parameters():
        assert parameter.is_leaf
    assert snapshot.identities == Snapshot(sample.layer).identities


@given(dtypes)
def test_the_law_would_see_a_wrong_constant(dtype):
    """Negative control: a c that is off by one unit of single precision breaks the inverse."""
    layer = nn.Linear(64, 64, dtype=dtype)
    before = layer.weight.detach().clone()
    equalize_lr(layer, init="keep")
    wrong = he_scales(layer)["weight"] * (1 + 4 * torch.finfo(dtype).eps)
    with pytest.raises(AssertionError):
        assert_ulps(layer.weight_orig.detach() * wrong, before, ROUND_TRIP)
    assert not math.isclose(wrong, he_scales(layer)["weight"], rel_tol=torch.finfo(dtype).eps)
