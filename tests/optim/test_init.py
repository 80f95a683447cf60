"""`init_` with the scales that `implicit` takes."""

import warnings

import pytest
import torch
from torch import nn, optim

from equalized_lr import errors, he_scales
from equalized_lr.optim import OtherSpread, implicit, init_
from tests.support.assertions import assert_equal


def network():
    return nn.Sequential(nn.Linear(64, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))


@pytest.fixture
def no_warning():
    """An error for every warning of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", OtherSpread)
        yield


def test_one_dict_for_both(no_warning):
    """An exception is said once, and the weights are drawn and trained with it."""
    net = network()
    scales = he_scales(net) | {"2.weight": 32**-0.5}
    torch.manual_seed(0)
    assert init_(net, scales=scales) is net
    torch.manual_seed(0)
    assert_equal(net[0].weight.detach(), torch.randn(32, 64) * scales["0.weight"])
    assert_equal(net[2].weight.detach(), torch.randn(1, 32) * scales["2.weight"])
    assert not net[0].bias.any()
    optimizer = implicit(optim.Adam, net, scales=scales, lr=1.0)
    assert [group["lr"] for group in optimizer.param_groups] == list(
        {scales["0.weight"]: 0, 1.0: 0, scales["2.weight"]: 0}
    )


def test_weights_without_a_scale_are_left_alone():
    """Those that the dict does not name, and their biases."""
    net = network()
    before = [p.detach().clone() for p in net[2].parameters()]
    init_(net, scales={"0.weight": 0.5})
    for p, value in zip(net[2].parameters(), before, strict=True):
        assert_equal(p.detach(), value)
    assert not net[0].bias.any()


def test_scales_and_a_choice():
    """Layers that `where` does not choose are left alone, whatever has a scale."""
    net = network()
    before = net[0].weight.detach().clone()
    init_(net, scales=he_scales(net), where=lambda path, _: path == "2")
    assert_equal(net[0].weight.detach(), before)
    assert not net[2].bias.any()


def test_scales_of_weights_that_nobody_knows():
    """A parameter of an own layer is drawn as well, if it is named."""
    layer = nn.Module()
    layer.kernel = nn.Parameter(torch.zeros(100, 100))
    init_(layer, scales={"kernel": 0.1})
    assert layer.kernel.std().item() == pytest.approx(0.1, rel=0.05)
    with pytest.raises(errors.NothingToEqualize):
        init_(layer, scales={})


def test_lr_mul_and_scales():
    """The weights are drawn without the multiplier that is in c."""
    layer = nn.Linear(100, 100)
    scales = he_scales(layer, lr_mul=0.01)
    init_(layer, scales=scales, lr_mul=0.01)
    assert layer.weight.std().item() == pytest.approx(2**0.5 / 10, rel=0.05)


def test_lr_mul_of_a_weight_that_nobody_knows():
    """A number counts for it as for others; a function of the fan has nothing to go by."""
    layer = nn.Module()
    layer.kernel = nn.Parameter(torch.zeros(100, 100))
    init_(layer, scales={"kernel": 0.01}, lr_mul=0.125)
    assert layer.kernel.std().item() == pytest.approx(0.08, rel=0.05)
    before = layer.kernel.detach().clone()
    with pytest.raises(errors.UnknownFan, match="kernel"):
        init_(layer, scales={"kernel": 0.01}, lr_mul=lambda fan: fan**-0.5)
    assert_equal(layer.kernel.detach(), before)


def test_scales_that_do_not_fit():
    """As in `implicit`; nothing is drawn."""
    net = network()
    before = net[0].weight.detach().clone()
    with pytest.raises(errors.InvalidArgument, match="plain names"):
        init_(net, scales={"0.kernel": 1.0})
    assert_equal(net[0].weight.detach(), before)
