"""Law 9: LREQAdam is ALAE's published rule, and the explicit form's Adam as eps goes to zero.

- It equals the published rule, written out in Python's floats, within the rounding of float64.
- It is Adam(betas=(0, beta2)) on the stored weights, if Adam's eps is c * eps / sqrt(1 - beta2**t)
  at step t; with eps = 0 the two are the same.
- With one eps it falls behind Adam by a bounded amount, which grows with eps / c: the numbers of
  docs/lreqadam.md.
- Its weight decay is Adam's in the explicit form.
- Negative control: Adam with the eps that LREQAdam has is seen to differ.
"""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn, optim

from equalized_lr import errors, remove_equalized_lr
from equalized_lr.optim import LREQAdam, implicit
from tests.support.assertions import assert_equal
from tests.support.reference import PublishedLREQAdam
from tests.support.trajectories import distance, explicit_of, fixed, networks, train

ADAM = {"lr": 0.01, "betas": (0.0, 0.99)}


@given(st.floats(1e-3, 3), st.sampled_from([1e-8, 1e-3]), st.sampled_from([0.9, 0.99]))
def test_the_published_rule(scale, eps, beta2):
    """Fifty steps by random gradients of very different sizes."""
    p = nn.Parameter(torch.randn(5, dtype=torch.float64))
    group = {"params": [p], "equalized_scale": scale}
    optimizer = LREQAdam([group], lr=0.1, betas=(0.0, beta2), eps=eps)
    published, expected = PublishedLREQAdam(0.1, scale, beta2, eps), p.tolist()
    for _ in range(50):
        p.grad = torch.randn(5, dtype=torch.float64) * torch.tensor([1e-6, 1e-3, 1, 10, 0])
        expected = published.moved(expected, p.grad.tolist())
        optimizer.step()
    # 50 steps of a few roundings each, in relation to a weight of size 1 and more
    torch.testing.assert_close(
        p.detach(), torch.tensor(expected, dtype=p.dtype), rtol=1e-13, atol=1e-13
    )


def lreqadam(net, scales, **numbers):
    optimizer = implicit(LREQAdam, net, scales=scales, **{"lr": 0.01, **numbers})
    assert all(group["lr"] == 0.01 for group in optimizer.param_groups)
    train(net, optimizer)
    return net


def adam(net, scales, eps_at=lambda c, t: 1e-8, **numbers):
    """Adam in the explicit form, with an eps for each constant and step."""
    explicit = explicit_of(net, scales)
    groups = [
        {"params": [p], "c": scales.get(name.removesuffix("_orig"), 1.0)}
        for name, p in explicit.named_parameters()
    ]
    optimizer, steps = optim.Adam(groups, **ADAM, **numbers), iter(range(1, 1000))

    def prepare(*_):
        step = next(steps)
        for group in optimizer.param_groups:
            group["eps"] = eps_at(group["c"], step)

    optimizer.register_step_pre_hook(prepare)
    train(explicit, optimizer)
    return explicit


def corrected(eps):
    return lambda c, t: c * eps / math.sqrt(1 - 0.99**t)


@pytest.mark.parametrize("eps", [1e-8, 1e-3])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_it_is_adam_with_another_eps(eps, decay):
    """On the stored weights; its weight decay, too, is Adam's."""
    net, scales = fixed()
    expected = adam(net, scales, corrected(eps), weight_decay=decay)
    ours = lreqadam(net, scales, eps=eps, weight_decay=decay)
    assert distance(ours, expected) < 1e-13


@given(networks())
def test_without_eps_the_two_are_one(network):
    """With an eps too small to count there is nothing left to differ in."""
    net, scales = network
    expected = adam(net, scales, lambda c, t: 1e-30)
    assert distance(lreqadam(net, scales, eps=1e-30), expected) < 1e-12


BEHIND = {1e-8: 5e-6, 1e-5: 5e-3, 1e-3: 0.5}


@pytest.mark.parametrize(("eps", "at_most"), BEHIND.items())
def test_with_one_eps_they_differ(eps, at_most):
    """In proportion to eps, until it dominates; the negative control of the laws above."""
    net, scales = fixed()
    expected = adam(net, scales, lambda c, t: eps)
    apart = distance(lreqadam(net, scales, eps=eps), expected)
    assert at_most / 100 < apart < at_most


@given(st.floats(1e-4, 1.0), st.floats(1e-6, 10), st.integers(1, 200))
def test_how_much_a_step_falls_short(c, size, steps):
    """With a constant gradient g it is lr * c * (1 - eps / (sqrt(1 - beta2**t) |g| + eps))."""
    p, eps = nn.Parameter(torch.zeros(1, dtype=torch.float64)), 1e-4
    optimizer = LREQAdam([{"params": [p], "equalized_scale": c}], lr=1.0, eps=eps)
    for _ in range(steps):
        p.grad = torch.full_like(p, size)
        before = p.item()
        optimizer.step()
    grown = math.sqrt(1 - 0.99**steps) * size
    assert (before - p.item()) / c == pytest.approx(1 - eps / (grown + eps), rel=1e-9)


def test_hand_over():
    """Giving explicit weights back translates eps and state: the trajectory goes on."""
    net, scales = fixed()
    stays, changes = explicit_of(net, scales), explicit_of(net, scales)
    for model in (stays, changes):
        optimizer = LREQAdam(model.parameters(), lr=0.01, eps=1e-3, weight_decay=0.1)
        train(model, optimizer, range(25))
        if model is changes:
            remove_equalized_lr(model, optimizer=optimizer)
            assert {group["equalized_scale"] for group in optimizer.param_groups} == {
                1.0,
                *scales.values(),
            }
        train(model, optimizer, range(25, 50))
    assert distance(changes, stays) < 1e-13


def test_complex_weights_are_pairs():
    """A complex parameter takes the steps of its real and imaginary part."""
    pair = nn.Parameter(torch.randn(3, 2, dtype=torch.float64))
    whole = nn.Parameter(torch.view_as_complex(pair.detach().clone()))
    optimizer = LREQAdam([pair, whole], weight_decay=0.1, maximize=True)
    for seed in range(3):
        torch.manual_seed(seed)
        pair.grad = torch.randn(3, 2, dtype=torch.float64)
        whole.grad = torch.view_as_complex(pair.grad.clone())
        optimizer.step()
    assert_equal(torch.view_as_real(whole.detach()), pair.detach())


def test_resuming():
    """A state_dict, through a file or not, holds all that goes on."""
    net, scales = fixed()
    optimizer = implicit(LREQAdam, net, scales=scales)
    train(net, optimizer, range(5))
    twin = copy.deepcopy(net)
    theirs = implicit(LREQAdam, twin, scales=scales, lr=0.5)
    theirs.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for model, each in ((net, optimizer), (twin, theirs)):
        train(model, each, range(5, 10))
    assert distance(twin, net) == 0


@pytest.mark.parametrize(
    ("numbers", "match"),
    [
        ({"equalized_scale": 0.0}, "equalized_scale"),
        ({"equalized_scale": -1.0}, "equalized_scale"),
        ({"equalized_scale": math.inf}, "equalized_scale"),
        ({"equalized_scale": math.nan}, "equalized_scale"),
        ({"betas": (0.0, 1.0)}, "betas"),
        ({"betas": (0.0, 1.5)}, "betas"),
        ({"betas": (0.0, -0.1)}, "betas"),
    ],
)
def test_numbers_out_of_their_range(numbers, match):
    """Are refused in the group that has them."""
    with pytest.raises(errors.InvalidArgument, match=match):
        LREQAdam([{"params": [nn.Parameter(torch.ones(2))], **numbers}])


def test_defaults():
    """Those of ALAE's code; beta2 = 0 is admitted."""
    (group,) = LREQAdam([nn.Parameter(torch.ones(2))]).param_groups
    numbers = ("lr", "betas", "eps", "weight_decay", "maximize", "equalized_scale")
    assert [group[key] for key in numbers] == [1e-3, (0.0, 0.99), 1e-8, 0.0, False, 1.0]
    LREQAdam([nn.Parameter(torch.ones(2))], betas=(0.0, 0.0))
