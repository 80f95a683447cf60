"""Law 4: a step of Adam on the stored weight does not depend on the scale of the weight.

Let the effective weight be s * c * w, with gradients g_t with respect to it that are the same for
every s. The stored weight then sees s * c * g_t, and

- Adam, AMSGrad, NAdam, Adamax, RMSprop and Adagrad with epsilon 0 move w by the same amount for
  every s, over any number of steps, from the first bit to the last if s is a power of two;
- with an epsilon they do if it is scaled by s as well: their steps depend on g / eps alone;
- with one and the same epsilon they differ, by eps / (c |g|) in relation to the step at most;
- SGD moves w by s times as much, with momentum too: it is not invariant.

Law 5: equal speed. After one step of Adam every stored element has moved by lr, whatever the fan of
its layer; for plain weights with He's initialization the relative speed of two layers differs by
the ratio of their constants.
"""

import copy
import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn, optim

from equalized_lr import equalize_lr, fans, he_scales
from tests.support.assertions import assert_equal, assert_ulps
from tests.support.strategies import powers_of_two, samples

INVARIANT = {
    "Adam": optim.Adam,
    "Adam, beta1 = 0": partial(optim.Adam, betas=(0.0, 0.99)),
    "AMSGrad": partial(optim.Adam, amsgrad=True),
    "AdamW": partial(optim.AdamW, weight_decay=0.01),
    "NAdam": optim.NAdam,
    "Adamax": optim.Adamax,
    "RMSprop": optim.RMSprop,
    "RMSprop, centered, momentum": partial(optim.RMSprop, centered=True, momentum=0.9),
    "Adagrad": optim.Adagrad,
}
STEPS = 6

optimizers = st.sampled_from(sorted(INVARIANT)).map(INVARIANT.get)
kinds = ("Linear", "Conv2d", "ConvTranspose2d", "Bilinear", "LSTMCell")


def trajectory(layer, optimizer_class, *, gain, weights=None, seed=0, **hyperparameters):
    """The stored weights after each step, under random gradients of the effective weights."""
    name = next(iter(fans(layer)))
    equalize_lr(layer, name, gain=gain)
    raw = getattr(layer, f"{name}_orig")
    gradients = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        raw.copy_(torch.randn(raw.shape, generator=gradients, dtype=raw.dtype))
        raw.mul_(0.0 if weights == "zero" else 1.0)
    optimizer = optimizer_class([raw], lr=0.1, **hyperparameters)
    steps = []
    for _ in range(STEPS):
        gradient = torch.randn(raw.shape, generator=gradients, dtype=raw.dtype)
        optimizer.zero_grad()
        (gradient * getattr(layer, name)).sum().backward()
        optimizer.step()
        steps.append(raw.detach().clone())
    return torch.stack(steps)


def twins(layer):
    """Two layers of one shape."""
    return copy.deepcopy(layer), copy.deepcopy(layer)


@given(samples(kinds), optimizers, powers_of_two)
def test_steps_do_not_depend_on_the_scale(sample, optimizer, s):
    """With epsilon 0 the trajectory of w is the same, bit for bit, whatever the scale."""
    one, other = twins(sample.layer)
    expected = trajectory(one, optimizer, gain=1.0, eps=0.0)
    assert_equal(trajectory(other, optimizer, gain=s, eps=0.0), expected)


@given(samples(kinds), optimizers, powers_of_two, st.sampled_from([1e-8, 1e-3, 1.0]))
def test_epsilon_goes_with_the_scale(sample, optimizer, s, eps):
    """With any epsilon the trajectory is the same if epsilon is scaled as the weight is."""
    one, other = twins(sample.layer)
    expected = trajectory(one, optimizer, gain=1.0, eps=eps)
    assert_equal(trajectory(other, optimizer, gain=s, eps=eps * s), expected)


@given(samples(kinds, dtypes=st.just(torch.float64)), optimizers, st.floats(1e-3, 1e3))
def test_any_scale_up_to_rounding(sample, optimizer, s):
    """For scales that are no powers of two, too; centered RMSprop subtracts what nearly cancels."""
    one, other = twins(sample.layer)
    expected = trajectory(one, optimizer, gain=1.0, eps=0.0)
    # Each step rounds a handful of times; g**2 - mean(g)**2 of a centered RMSprop loses up to two
    # digits more at alpha = 0.99, where the mean square is a hundredth of g**2 after one step.
    assert_ulps(trajectory(other, optimizer, gain=s, eps=0.0), expected, 10_000)


@given(st.floats(0.01, 1.0), st.sampled_from([1e-8, 1e-4, 1e-2]))
def test_a_fixed_epsilon_is_the_only_difference(scale, eps):
    """Adam's first step is lr / (1 + eps / (c |g|)): short of lr by less than eps / (c |g|)."""
    layer = equalize_lr(nn.Linear(16, 4, dtype=torch.float64), gain=scale)
    before, gradient = layer.weight_orig.detach().clone(), torch.randn(4, 16, dtype=torch.float64)
    optimizer = optim.Adam([layer.weight_orig], lr=0.1, eps=eps)
    (gradient * layer.weight).sum().backward()
    optimizer.step()
    moved = (layer.weight_orig.detach() - before).abs() / 0.1
    ratio = eps / (scale / 4 * gradient.abs())
    torch.testing.assert_close(moved, 1 / (1 + ratio), rtol=1e-12, atol=1e-12)
    assert (1 - moved <= ratio + 1e-12).all()


@given(samples(kinds), st.sampled_from([0.0, 0.9]), powers_of_two)
def test_sgd_breaks_the_law_by_the_scale(sample, momentum, s):
    """SGD moves w by s times as much: exactly, when it starts at zero."""
    one, other = twins(sample.layer)
    sgd = partial(optim.SGD, momentum=momentum)
    expected = trajectory(one, sgd, gain=1.0, weights="zero")
    assert_equal(trajectory(other, sgd, gain=s, weights="zero"), s * expected)


@pytest.mark.parametrize("optimizer", [*INVARIANT.values(), optim.SGD], ids=[*INVARIANT, "SGD"])
def test_the_law_would_see_a_dependence(optimizer):
    """Negative control: an epsilon that is not scaled, and SGD, give other trajectories."""
    more = {} if optimizer is optim.SGD else {"eps": 1e-3}
    expected = trajectory(nn.Linear(8, 4), optimizer, gain=1.0, **more)
    with pytest.raises(AssertionError):
        assert_equal(trajectory(nn.Linear(8, 4), optimizer, gain=0.25, **more), expected)


def net():
    """Layers whose constants lie a factor of 16 apart."""
    return nn.Sequential(
        nn.Linear(2, 512), nn.Tanh(), nn.Linear(512, 128), nn.Tanh(), nn.Linear(128, 64)
    ).double()


def one_step(model, optimizer):
    """The parameters before and after one step of Adam on real gradients."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model(torch.randn(32, 2, dtype=torch.float64)).square().sum().backward()
    optimizer.step()
    return {name: (before[name], p.detach()) for name, p in model.named_parameters()}


def test_equal_speed():
    """After one step each stored element has moved by lr, in each layer."""
    model = equalize_lr(net())
    steps = one_step(model, optim.Adam(model.parameters(), lr=1e-3, eps=0.0))
    for before, after in steps.values():
        # a difference of numbers near 1: their last place is 1e-13 of the step
        torch.testing.assert_close(
            (after - before).abs(), torch.full_like(after, 1e-3), rtol=1e-12, atol=1e-15
        )


def test_plain_weights_learn_at_speeds_in_the_ratio_of_their_constants():
    """With He's initialization and Adam, relative steps are 1 / c apart; equalized they agree."""
    plain = net()
    scales = he_scales(plain)
    for name, c in scales.items():
        nn.init.normal_(plain.get_parameter(name), std=c)
    equalized = equalize_lr(net())
    speed = {}
    for label, model in {"plain": plain, "equalized": equalized}.items():
        steps = one_step(model, optim.Adam(model.parameters(), lr=1e-3, eps=0.0))
        for name, (before, after) in steps.items():
            speed[label, name.removesuffix("_orig")] = (
                (after - before).norm() / before.norm()
            ).item()
    for name, c in scales.items():
        n = plain.get_parameter(name).numel()
        # ||before|| is c * sqrt(n), up to 6 standard deviations 1 / sqrt(2 n)
        assert speed["plain", name] == pytest.approx(1e-3 / c, rel=6 / math.sqrt(2 * n))
        assert speed["equalized", name] == pytest.approx(1e-3, rel=6 / math.sqrt(2 * n))
    assert max(scales.values()) / min(scales.values()) == 16
