"""Parameters: who holds them, in which order, and whether they train."""

import torch
from torch import nn

from mechanisms import common_hook, net, x


@common_hook("silent")
def test_an_optimizer_made_before(mechanism):
    """An optimizer that holds the Parameters of before trains the equalized model."""
    plain = net().double()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    model = mechanism.wrap(plain)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model(x()).square().sum().backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), f"{name} did not move"


@common_hook("silent")
def test_frozen_stays_frozen(mechanism):
    """requires_grad is kept."""
    plain = net()
    plain[0].weight.requires_grad_(False)
    model, plain = mechanism.twins(plain)
    flags = {name: parameter.requires_grad for name, parameter, _ in mechanism.stored(model)}
    assert flags == {name: p.requires_grad for name, p in plain.named_parameters()}
    mechanism.assert_alike(model, plain, x())


@common_hook("silent")
def test_order_is_kept(mechanism):
    """Parameters and state_dict keys come in the order that they had."""
    model, plain = mechanism.twins(net())
    assert [name for name, *_ in mechanism.stored(model)] == [
        n for n, _ in plain.named_parameters()
    ]
    assert [key.removesuffix("_orig") for key in model.state_dict()] == list(plain.state_dict())


@common_hook("silent")
def test_giving_back_leaves_no_trace(mechanism):
    """Names, order, repr, hooks and classes are those of before."""
    model, plain = mechanism.twins(net())
    mechanism.assert_alike(model, plain, x())
    mechanism.unwrap(model)
    assert list(model.state_dict()) == list(plain.state_dict())
    assert repr(model) == repr(plain)
    for mine, its in zip(model.modules(), plain.modules(), strict=True):
        assert type(mine) is type(its)
        assert (mine._forward_pre_hooks, mine._forward_hooks) == ({}, {})
        assert sorted(mine.__dict__) == sorted(its.__dict__)
    mechanism.assert_alike(model, plain, x())


@common_hook("silent")
def test_giving_back_keeps_the_optimizer(mechanism):
    """The optimizer of the equalized model trains the plain one."""
    model, _ = mechanism.twins(net())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    mechanism.unwrap(model)
    before = model[0].weight.detach().clone()
    model(x()).square().sum().backward()
    optimizer.step()
    assert not torch.equal(model[0].weight, before), "the weight did not move"


@common_hook("holds")
def test_again_and_again(mechanism):
    """Equalized, given back, equalized: the function stays, and trains."""
    model, plain = mechanism.twins(net())
    for _ in range(3):
        mechanism.assert_alike(model, plain, x())
        mechanism.wrap(mechanism.unwrap(model))
    mechanism.assert_alike(model, plain, x())


@common_hook("holds")
def test_odd_layers(mechanism):
    """Groups, transposed and strided convolutions, two inputs."""
    for layer, inputs in [
        (nn.Conv1d(4, 6, 3, groups=2, stride=2), (x(2, 4, 9),)),
        (nn.ConvTranspose2d(4, 2, 4, stride=2, groups=2), (x(2, 4, 5, 5),)),
        (nn.Bilinear(3, 2, 4), (x(5, 3), x(5, 2))),
    ]:
        model, plain = mechanism.twins(layer)
        for _ in range(2):
            mechanism.assert_alike(model, plain, *inputs)
