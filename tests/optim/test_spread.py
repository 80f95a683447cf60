"""The warning of weights whose size does not go with their c."""

import warnings

import pytest
from torch import nn, optim

from equalized_lr import he_scales
from equalized_lr.optim import OtherSpread, implicit, init_, param_groups


def network():
    return nn.Sequential(nn.Linear(64, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))


@pytest.fixture
def no_warning():
    """An error for every warning of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", OtherSpread)
        yield


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
