"""The numbers that `init` puts into the stored parameters."""

import copy
import math

import pytest
import torch
from hypothesis import given
from torch import nn
from torch._subclasses import FakeTensorMode

from equalized_lr import equalize_lr
from tests.support.assertions import assert_equal
from tests.support.strategies import lr_muls, samples, seeds


@pytest.mark.parametrize("lr_mul", [1.0, 0.01, 4.0])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_normal_draws_have_mean_zero_and_deviation_one_over_lr_mul(lr_mul, dtype):
    """w ~ N(0, 1 / lr_mul**2), in every floating-point dtype."""
    layer = equalize_lr(nn.Linear(200, 200, dtype=dtype), lr_mul=lr_mul)
    w = layer.weight_orig.detach().double() * lr_mul
    # six standard deviations of a mean and of a mean square of 40,000 values, and bfloat16's step
    assert abs(w.mean()) < 6 / 200
    assert w.square().mean() == pytest.approx(1, abs=6 * math.sqrt(2) / 200 + 0.004)
    assert w.abs().max() > 3.5


def test_complex_weights():
    """A complex weight has unit variance over both parts together, and is scaled like any other."""
    layer = equalize_lr(nn.Linear(200, 200, dtype=torch.complex64), gain=1)
    power = layer.weight_orig.detach().abs().square().mean()
    assert power == pytest.approx(1, abs=6 / 200)
    x = torch.randn(2, 200, dtype=torch.complex64)
    torch.testing.assert_close(layer(x), nn.functional.linear(x, layer.weight, layer.bias))


@given(samples(), lr_muls)
def test_biases_start_at_zero(sample, lr_mul):
    """The paper's initialization sets every bias of an equalized layer to zero."""
    equalize_lr(sample.layer, lr_mul=lr_mul)
    for name, parameter in sample.layer.named_parameters():
        own = name.rpartition(".")[2]
        if own.startswith(("bias_ih", "bias_hh", "in_proj_bias")) or own in ("bias", "bias_orig"):
            assert not parameter.any()
        elif own.startswith("weight"):
            assert parameter.all()


@given(samples(), seeds)
def test_a_generator_makes_draws_repeatable(sample, seed):
    """The same generator gives the same weights, and leaves torch's own generator alone."""
    state, twins = torch.get_rng_state(), [sample.layer, copy.deepcopy(sample.layer)]
    for layer in twins:
        equalize_lr(layer, generator=torch.Generator().manual_seed(seed))
    for first, second in zip(*(layer.parameters() for layer in twins), strict=True):
        assert_equal(first, second)
    assert torch.equal(state, torch.get_rng_state())


def test_draws_are_in_the_models_order():
    """Weights are drawn one after the other, as torch.randn would give them."""
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    equalize_lr(net, generator=torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    for layer in net:
        assert_equal(
            layer.weight_orig, torch.empty(2, layer.in_features).normal_(generator=generator)
        )


def test_keep_leaves_not_a_number_where_it_was():
    """A trained weight with NaN or infinity in it is kept as it is."""
    layer = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, math.nan, math.inf, -math.inf]]))
    equalize_lr(layer, init="keep", gain=1)
    assert layer.weight[0, 0] == 1
    assert layer.weight[0, 1].isnan()
    assert layer.weight[0, 2:].tolist() == [math.inf, -math.inf]


def test_keep_on_the_meta_device():
    """Without values there is nothing to divide, and nothing is allocated."""
    layer = equalize_lr(nn.Linear(8, 2, device="meta"), init="keep")
    assert layer.weight.is_meta
    assert layer.weight_orig.is_meta


def test_values_are_changed_in_place():
    """No second copy of the model: the storage stays where it was, in both directions."""
    layer = nn.Linear(64, 64)
    address = layer.weight.data_ptr()
    equalize_lr(layer, init="keep")
    assert layer.weight_orig.data_ptr() == address


@pytest.mark.parametrize("init", ["normal", "keep"])
def test_fake_tensors(init):
    """Under FakeTensorMode, where tensors have no values, models are equalized and loaded."""
    with FakeTensorMode():
        layer = equalize_lr(nn.Linear(7, 3), init=init)
        layer.load_state_dict(nn.Linear(7, 3, dtype=torch.float16).state_dict())
        assert layer(torch.ones(2, 7)).shape == (2, 3)
