"""Law 6: dL/dw = c * dL/dW with W = c * w, to first and to second order.

- the gradient of the stored weight is c times the plain one, bit for bit;
- second derivatives are c * c' times the plain ones;
- numerical differentiation agrees (gradcheck, gradgradcheck).
"""

import copy

import pytest
import torch
from hypothesis import given, settings
from torch import nn
from torch.autograd import grad, gradcheck, gradgradcheck

from equalized_lr import equalize_lr, he_scales
from tests.support.assertions import assert_equal, assert_ulps
from tests.support.reference import computed_with
from tests.support.strategies import float64_samples, gains, lr_muls, samples


def pairs(sample, **options):
    """Stored parameters, the same weights as leaves of a plain twin, and their constants."""
    twin = copy.deepcopy(sample.layer)
    equalize_lr(sample.layer, init="keep", **options)
    scales = he_scales(sample.layer)
    stored = {name: sample.layer.get_parameter(f"{name}_orig") for name in scales}
    plain = {n: (scales[n] * raw).detach().requires_grad_() for n, raw in stored.items()}
    return stored, twin, plain, scales


@given(samples(), gains, lr_muls)
def test_first_order(sample, gain, lr_mul):
    """Backward multiplies the plain gradient by c, and does nothing else."""
    stored, twin, plain, scales = pairs(sample, gain=gain, lr_mul=lr_mul)
    through_c = grad(sample.call().square().sum(), list(stored.values()))
    outputs = sample.call(lambda *x: computed_with(twin, plain, *x))
    direct = grad(outputs.square().sum(), list(plain.values()))
    for name, got, expected in zip(scales, through_c, direct, strict=True):
        assert_equal(got, expected * scales[name])


@given(float64_samples(("Linear", "Conv2d", "ConvTranspose1d", "Bilinear", "GRUCell")), gains)
def test_second_order(sample, gain):
    """A Hessian-vector product, as gradient penalties need it, is c times c' times the plain."""
    stored, twin, plain, scales = pairs(sample, gain=gain)
    vectors = [torch.randn_like(raw) for raw in stored.values()]

    def products(outputs, parameters, directions):
        first = grad(outputs.tanh().sum(), parameters, create_graph=True)
        total = sum((g * v).sum() for g, v in zip(first, directions, strict=True))
        return grad(total, parameters)

    through_c = products(sample.call(), list(stored.values()), vectors)
    scaled = [v * c for v, c in zip(vectors, scales.values(), strict=True)]
    outputs = sample.call(lambda *x: computed_with(twin, plain, *x))
    direct = products(outputs, list(plain.values()), scaled)
    for name, got, expected in zip(scales, through_c, direct, strict=True):
        # up to 54 products of either sign in a sum, each rounded differently on the two ways
        assert_ulps(got, expected * scales[name], 2000)


@settings(max_examples=15)
@given(float64_samples(("Linear", "Conv1d", "ConvTranspose2d", "Bilinear", "RNNCell")), gains)
def test_numerical_differentiation_agrees(sample, gain):
    """Finite differences see the same derivatives, first and second."""
    equalize_lr(sample.layer, gain=gain)
    names = [f"{name}_orig" for name in he_scales(sample.layer)]

    def function(*raws):
        given_ = dict(zip(names, raws, strict=True))
        return sample.call(lambda *x: computed_with(sample.layer, given_, *x)).tanh()

    raws = tuple(sample.layer.get_parameter(n).detach().requires_grad_() for n in names)
    assert gradcheck(function, raws)
    assert gradgradcheck(function, raws)


def test_a_gradient_penalty_reaches_every_stored_weight():
    """WGAN-GP: a penalty on the input gradient trains each layer, by c times the plain."""
    torch.manual_seed(1)
    critic = nn.Sequential(nn.Conv2d(1, 4, 3), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(16, 1))
    twin = copy.deepcopy(critic.double())
    equalize_lr(critic, init="keep")
    for got, expected in zip(penalized(critic), penalized(twin), strict=True):
        scale = he_scales(critic)[expected[0]]
        torch.testing.assert_close(got[1], expected[1] * scale, rtol=1e-10, atol=1e-14)


def penalized(critic):
    torch.manual_seed(2)
    x = torch.randn(5, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    (slope,) = grad(critic(x).sum(), x, create_graph=True)
    (slope.flatten(1).norm(dim=1) - 1).square().mean().backward()
    return [(name, p.grad) for name, p in critic.named_parameters() if "weight" in name]


def test_the_law_would_see_a_detached_weight():
    """Negative control: a weight that is multiplied outside of the graph has no such gradient."""
    layer = equalize_lr(nn.Linear(3, 2))
    weight = (layer.weight_orig.detach() * he_scales(layer)["weight"]).requires_grad_()
    with pytest.raises(RuntimeError):
        grad(nn.functional.linear(torch.randn(1, 3), weight).sum(), [layer.weight_orig])
