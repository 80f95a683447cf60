"""What wrapping and removing cost in memory: nothing that grows with the model."""

import pytest
import torch
from torch import nn
from torch.autograd.profiler import profile

from equalized_lr import equalize_lr, he_scales, remove_equalized_lr
from equalized_lr.optim import implicit

WEIGHT = 4 * 256 * 256  # bytes


def network():
    return nn.Sequential(*(nn.Linear(256, 256, bias=False) for _ in range(8)))


def peak(run):
    """The largest number of bytes that were allocated and not yet freed."""
    with profile(profile_memory=True) as seen:
        run()
    now = most = 0
    for event in seen.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


@pytest.mark.filterwarnings("ignore")  # of the profiler, about itself
@pytest.mark.parametrize("init", ["normal", "keep"])
def test_no_second_copy_of_the_model(init):
    """Values are changed where they lie; a check may look at one weight at a time."""
    net = network()
    assert peak(lambda: equalize_lr(net, init=init)) <= 3 * WEIGHT
    assert peak(lambda: remove_equalized_lr(net)) < WEIGHT
    assert peak(lambda: [p.detach().clone() for p in net.parameters()]) >= 8 * WEIGHT  # control


@pytest.mark.filterwarnings("ignore")
def test_the_state_of_an_optimizer_changes_where_it_lies():
    """Hand-over needs no second copy of the moments either."""
    net = equalize_lr(network())
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 256)).sum().backward()
    optimizer.step()
    assert peak(lambda: remove_equalized_lr(net, optimizer=optimizer)) < WEIGHT


@pytest.mark.filterwarnings("ignore")
def test_nothing_is_allocated_on_the_meta_device():
    """Wrapping, constants and optimizers of a model without memory need none."""
    with torch.device("meta"):
        net = network()
    for run in (
        lambda: equalize_lr(net),
        lambda: he_scales(net),
        lambda: remove_equalized_lr(net),
        lambda: implicit(torch.optim.SGD, net, lr=0.1),
    ):
        assert peak(run) < 100  # single numbers
