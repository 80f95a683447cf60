"""Law 10: copies give the same outputs and take the same next step.

- copy.deepcopy, pickle, torch.save of the whole module;
- state_dict into an equalized twin, also one that was equalized with another gain;
- a state_dict of effective weights under plain names.

All of them right after a forward and a backward, too, when the common hook has left a weight
behind.
"""

import copy
import io
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn, optim

from equalized_lr import equalize_lr, he_scales
from tests.support.assertions import assert_equal, assert_ulps
from tests.support.reference import CommonHook
from tests.support.strategies import gains, lr_muls, samples


def save_and_load(layer):
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda layer: pickle.loads(pickle.dumps(layer)),
    "torch.save": save_and_load,
    "deepcopy of a pickle": lambda layer: copy.deepcopy(pickle.loads(pickle.dumps(layer))),
}


def next_step(sample, layer):
    """All parameters after one more step of Adam."""
    optimizer = optim.Adam(layer.parameters(), lr=0.01)
    sample.call(layer).square().sum().backward()
    optimizer.step()
    return [p.detach().clone() for p in layer.parameters()]


def trained(sample, **options):
    equalize_lr(sample.layer, **options)
    next_step(sample, sample.layer)
    sample.layer.zero_grad()
    return sample.call()


@given(samples(), lr_muls, st.sampled_from(sorted(COPIES)))
def test_copies_go_on_alike(sample, lr_mul, how):
    """A copy made after a forward has the same class, output and next step, and is independent."""
    expected = trained(sample, lr_mul=lr_mul)
    twin = COPIES[how](sample.layer)
    assert type(twin) is type(sample.layer)
    assert he_scales(twin) == he_scales(sample.layer)
    assert_equal(sample.call(twin), expected)
    stepped = next_step(sample, twin)
    assert_equal(sample.call(), expected)
    for got, wanted in zip(stepped, next_step(sample, sample.layer), strict=True):
        assert_equal(got, wanted)


@given(samples(), lr_muls)
def test_state_dict_into_a_twin(sample, lr_mul):
    """The stored weights travel by state_dict, with keys in the plain order."""
    twin = copy.deepcopy(sample.layer)
    keys = list(twin.state_dict())
    expected = trained(sample, lr_mul=lr_mul)
    state = sample.layer.state_dict()
    assert [key.removesuffix("_orig") for key in state] == keys
    equalize_lr(twin, lr_mul=lr_mul).load_state_dict(state)
    assert_equal(sample.call(twin), expected)


@given(samples(), lr_muls, gains)
def test_state_dict_under_another_constant(sample, lr_mul, gain):
    """c travels with a state_dict: a twin with another c loads the same effective weights."""
    twin = copy.deepcopy(sample.layer)
    trained(sample, lr_mul=lr_mul)
    equalize_lr(twin, gain=gain).load_state_dict(sample.layer.state_dict())
    for path, module in sample.layer.named_modules():
        other = twin.get_submodule(path)
        for name, parameter in module._parameters.items():
            plain = name.removesuffix("_orig")
            if parameter is not None:
                # c' / c is rounded once, w times it once, and each side is multiplied once
                assert_ulps(getattr(other, plain).detach(), getattr(module, plain).detach(), 4)


@given(samples(), lr_muls)
def test_plain_state_dict(sample, lr_mul):
    """A checkpoint of the plain model is one of effective weights."""
    state = {key: value.clone() for key, value in sample.layer.state_dict().items()}
    expected = sample.call()
    equalize_lr(sample.layer, lr_mul=lr_mul).load_state_dict(state)
    for name, value in state.items():
        module, _, own = name.rpartition(".")
        assert_ulps(getattr(sample.layer.get_submodule(module), own).detach(), value, 2)
    # two roundings a weight, in sums of at most 54 products, over at most 3 steps in time
    assert_ulps(sample.call(), expected, 500)


def test_the_law_would_see_the_common_hook():
    """Negative control: after a forward the common hook's layer cannot be copied at all."""
    layer = CommonHook.wrap(nn.Linear(3, 2))
    layer(torch.randn(1, 3))
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(layer)
