"""`add_parameters`: what joins a training is translated as what was there from the beginning."""

import pytest
import torch
from torch import nn, optim

from equalized_lr import equalize_lr, errors, he_scales, remove_equalized_lr
from equalized_lr.optim import (
    LREQAdam,
    ScaledSteps,
    add_parameters,
    implicit,
    init_,
    param_groups,
)

ADAM = {"lr": 0.01, "eps": 1e-2, "weight_decay": 0.1}


def block(into, out):
    return nn.Sequential(nn.Linear(into, out), nn.Tanh()).double()


def network():
    torch.manual_seed(0)
    return nn.Sequential(block(6, 5), block(5, 4))


def train(net, optimizer, steps):
    for step in steps:
        x = torch.randn(8, 6, generator=torch.Generator().manual_seed(step)).double()
        optimizer.zero_grad()
        output = net(x)
        (output.sin() + output.cos()).mean().backward()
        optimizer.step()


def explicit(kind, numbers):
    """The explicit form of a network that grows after ten steps."""
    net = equalize_lr(network(), init="keep")
    optimizer = kind(net.parameters(), **numbers)
    train(net, optimizer, range(10))
    torch.manual_seed(1)
    grown = equalize_lr(block(4, 3), init="keep")
    net.append(grown)
    optimizer.add_param_group({"params": grown.parameters(), "lr": 0.02})
    train(net, optimizer, range(10, 20))
    return remove_equalized_lr(net)


def grows(net, optimizer):
    train(net, optimizer, range(10))
    torch.manual_seed(1)
    net.append(block(4, 3))
    add_parameters(optimizer, net, lr=0.02)
    train(net, optimizer, range(10, 20))
    return net


def scaled(net):
    optimizer = optim.Adam(net.parameters(), **ADAM)
    ScaledSteps(optimizer, net)
    return optimizer


MAKERS = {
    "implicit": (optim.Adam, lambda net: implicit(optim.Adam, net, **ADAM)),
    "SGD": (optim.SGD, lambda net: implicit(optim.SGD, net, lr=0.01, momentum=0.9)),
    "RAdam": (optim.RAdam, lambda net: implicit(optim.RAdam, net, **ADAM)),
    "ScaledSteps": (optim.Adam, scaled),
    "a class and its groups": (
        optim.Adam,
        lambda net: optim.Adam(param_groups(optim.Adam, net, **ADAM), **ADAM),
    ),
}


@pytest.mark.parametrize(("kind", "make"), MAKERS.values(), ids=MAKERS)
def test_a_network_that_grows(kind, make):
    """It follows the explicit form that grows at the same time."""
    numbers = {"lr": 0.01, "momentum": 0.9} if kind is optim.SGD else ADAM
    net = network()
    optimizer = make(net)
    names = [n for g in optimizer.param_groups for n in g.get("param_names", [])]
    grown, expected = grows(net, optimizer), explicit(kind, numbers)
    for p, q in zip(grown.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-13)
    later = [n for g in optimizer.param_groups for n in g.get("param_names", [])]
    assert later == names + (["2.0.weight", "2.0.bias"] if names else [])


def test_untranslated_it_would_go_elsewhere():
    """Negative control: the same groups as they are given."""
    net = network()
    optimizer = implicit(optim.Adam, net, **ADAM)
    train(net, optimizer, range(10))
    torch.manual_seed(1)
    net.append(block(4, 3))
    group = {"params": net[2].named_parameters(), "lr": 0.02, "equalized_scale": 1.0}
    optimizer.add_param_group(group)
    train(net, optimizer, range(10, 20))
    expected = explicit(optim.Adam, ADAM)
    assert (net[2][0].weight - expected[2][0].weight).abs().max() > 1e-3


def test_scales_of_what_joins():
    """An exception is said as everywhere; LREQAdam has it in its rule."""
    net = nn.Sequential(nn.Linear(4, 4))
    optimizer = implicit(LREQAdam, net, lr=0.01)
    net.append(nn.Linear(4, 2))
    add_parameters(optimizer, net, scales=he_scales(net) | {"1.weight": 0.5})
    assert [group["equalized_scale"] for group in optimizer.param_groups[2:]] == [0.5, 1.0]
    assert {group["lr"] for group in optimizer.param_groups} == {0.01}


def test_unfreezing():
    """Parameters of the same model that nobody trained before."""
    net = network()
    optimizer = implicit(optim.SGD, net, params=net[1].parameters(), lr=1.0)
    add_parameters(optimizer, net, params=net[0].parameters(), lr=0.5)
    rates = {n: g["lr"] for g in optimizer.param_groups for n in g["param_names"]}
    assert rates == {
        "1.0.weight": pytest.approx(2 / 5),
        "1.0.bias": 1.0,
        "0.0.weight": pytest.approx(0.5 * 2 / 6),
        "0.0.bias": 0.5,
    }


def test_a_parameter_that_was_replaced_under_scaled_steps():
    """Its successor in the group gets its c by the same call."""
    net = init_(nn.Sequential(nn.Linear(8, 2, bias=False)))
    optimizer = optim.SGD(net.parameters(), lr=1.0)
    steps = ScaledSteps(optimizer, net)
    net[0].weight = optimizer.param_groups[0]["params"][0] = nn.Parameter(torch.ones(2, 8))
    net(torch.ones(1, 8)).sum().backward()
    with pytest.raises(errors.UnknownScale):
        optimizer.step()
    add_parameters(optimizer, net)
    assert steps.scales == {net[0].weight: 0.5}
    optimizer.step()
    assert torch.equal(net[0].weight, torch.full((2, 8), 1 - 0.5**2))


def test_a_bias_that_was_replaced_under_scaled_steps():
    """It has no c to be said, and is taken by the same call."""
    net = nn.Sequential(nn.Linear(8, 2))
    optimizer = optim.SGD(net.parameters(), lr=1.0)
    steps = ScaledSteps(optimizer, net)
    net[0].bias = optimizer.param_groups[0]["params"][1] = nn.Parameter(torch.ones(2))
    net(torch.ones(1, 8)).sum().backward()
    add_parameters(optimizer, net)
    assert steps.scales == {net[0].weight: 0.5}
    optimizer.step()
    assert torch.equal(net[0].bias, torch.zeros(2))


def test_refusals():
    """Optimizers that are not translated, nothing new, and names that do not fit."""
    net = network()
    with pytest.raises(errors.InvalidArgument, match="a hand-over"):
        add_parameters(optim.Adam(net[0].parameters()), net)
    optimizer = implicit(optim.Adam, net, lr=0.01)
    with pytest.raises(errors.InvalidArgument, match="new"):
        add_parameters(optimizer, net)
    with pytest.raises(errors.InvalidArgument, match="plain names"):
        add_parameters(optimizer, block(2, 2), scales={"weight": 1.0})
    half = nn.Linear(2, 2).half()
    nn.init.constant_(half.weight, 6e4)
    scaled_optimizer = scaled(net)
    with pytest.raises(errors.Unscalable):
        add_parameters(scaled_optimizer, half, scales={"weight": 0.5})
    assert len(scaled_optimizer.param_groups) == 1
    filled = implicit(optim.Adagrad, net, lr=0.1, initial_accumulator_value=0.1)
    count = len(filled.param_groups)
    with pytest.raises(errors.NoConstantTranslation, match="accumulators"):
        add_parameters(filled, block(8, 2))
    assert len(filled.param_groups) == count


@pytest.mark.parametrize("kind", [optim.Adam, LREQAdam])
@pytest.mark.parametrize("bad", [{"params": ["not a tensor"]}, "the same again"])
def test_nothing_joins_when_a_later_group_is_refused(kind, bad):
    """What torch refuses leaves no group behind whose rate is not translated."""
    net = network()
    optimizer = implicit(kind, net[0], lr=0.01, betas=(0.0, 0.99))
    good = {"params": [net[1][0].weight]}
    with pytest.raises((TypeError, ValueError)):
        add_parameters(optimizer, net, params=[good, good if bad == "the same again" else bad])
    assert [group["param_names"] for group in optimizer.param_groups] == [["0.weight"], ["0.bias"]]
