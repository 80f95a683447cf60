"""`init_` with scales, and the warning of weights that were drawn for another c."""

import warnings

import pytest
import torch
from torch import nn, optim

from equalized_lr import errors, he_scales
from equalized_lr.optim import OtherSpread, implicit, init_, param_groups
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


def test_scales_that_do_not_fit():
    """As in `implicit`; nothing is drawn."""
    net = network()
    before = net[0].weight.detach().clone()
    with pytest.raises(errors.InvalidArgument, match="plain names"):
        init_(net, scales={"0.kernel": 1.0})
    assert_equal(net[0].weight.detach(), before)


@pytest.mark.parametrize("verb", [implicit, param_groups])
def test_an_exception_that_is_said_to_init_alone(verb):
    """The last layer of the README: drawn with gain 1, trained with sqrt(2)."""
    net = init_(network())
    init_(net[-1], gain=1.0)
    with pytest.warns(OtherSpread, match=r"2.weight \(init_ drew it with c = 0.177.* 0.25\)"):
        verb(optim.Adam, net, lr=1e-3)


@pytest.mark.parametrize("size", [0.2, 5.0])
def test_a_weight_of_another_size(size):
    """Far from its c, whoever drew it."""
    net = network()
    nn.init.normal_(net[0].weight, std=size * (2 / 64) ** 0.5)
    with pytest.warns(OtherSpread, match=r"0.weight \(its size is"):
        implicit(optim.Adam, net, lr=1e-3)


def test_what_is_near_enough(no_warning):
    """torch's own initialization, weights that `init_` drew, and those that start at zero."""
    for net in (network(), init_(network())):
        implicit(optim.Adam, net, lr=1e-3)
    net = init_(network(), gain=2.0)
    implicit(optim.Adam, net, scales=he_scales(net, gain=2.0), lr=1e-3)
    nn.init.zeros_(net[2].weight)
    implicit(optim.Adam, net, scales=he_scales(net, gain=2.0), lr=1e-3)
    tiny = nn.Linear(2, 2)
    nn.init.constant_(tiny.weight, 100.0)  # too few numbers to tell
    implicit(optim.Adam, tiny, lr=1e-3)
