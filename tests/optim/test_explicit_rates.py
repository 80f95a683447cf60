"""`explicit_rates`: every number is explicit inside, and nothing but schedules runs there."""

import copy
import pickle

import pytest
import torch
from torch import nn, optim

from equalized_lr import equalize_lr, errors
from equalized_lr.optim import LREQAdam, ScaledSteps, add_parameters, explicit_rates, implicit

C = {"weight": 0.25}


def layer():
    return nn.Linear(4, 2, bias=False)


NUMBERS = {
    optim.SGD: {"lr": 0.5, "weight_decay": 0.125},
    optim.Adam: {"lr": 0.5, "eps": 0.125, "weight_decay": 0.25},
    optim.AdamW: {"lr": 0.5, "eps": 0.125, "weight_decay": 0.25},
    optim.NAdam: {"lr": 0.5, "weight_decay": 0.25, "decoupled_weight_decay": True},
    optim.Adadelta: {"lr": 0.5, "eps": 0.125},
    optim.ASGD: {"lr": 0.5, "lambd": 0.125},
    optim.Rprop: {"lr": 0.5, "step_sizes": (0.125, 2.0)},
    optim.Adafactor: {"lr": 0.5, "eps": (0.0, 0.25)},
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_every_number_is_explicit_inside(kind):
    """What is read, and what is set: both are translated on the way out."""
    numbers = NUMBERS[kind]
    (group,) = implicit(kind, layer(), scales=C, **numbers).param_groups
    optimizer = implicit(kind, layer(), scales=C, **dict.fromkeys(numbers, 1.0) | numbers)
    with explicit_rates(optimizer):
        (inside,) = optimizer.param_groups
        assert {key: inside[key] for key in numbers} == numbers
    assert {key: inside[key] for key in numbers} == {key: group[key] for key in numbers}


def test_numbers_that_are_set_inside():
    """Weight decay, eps and rates that a schedule adds become those of the implicit form."""
    optimizer = implicit(optim.Adam, layer(), scales=C, lr=0.5)
    (group,) = optimizer.param_groups
    with explicit_rates(optimizer):
        group.update(lr=1.0, weight_decay=0.5, eps=0.125, max_lr=2.0)
    assert [group[key] for key in ("lr", "weight_decay", "eps", "max_lr")] == [0.25, 8.0, 0.5, 0.5]


def test_nested_it_does_nothing():
    """The rates are explicit from the first block's beginning to its end."""
    optimizer = implicit(optim.SGD, layer(), scales=C, lr=0.5)
    (group,) = optimizer.param_groups
    with explicit_rates(optimizer):
        with explicit_rates(optimizer):
            assert group["lr"] == 0.5
            group["lr"] = 1.0
        assert group["lr"] == 1.0
    assert group["lr"] == 1.0 * 0.25**2


def test_what_is_not_changed_keeps_its_bits():
    """Also where there and back again rounds, as of numbers that were set in the groups."""
    assert 0.09 / 0.7 * 0.7 != 0.09
    assert 0.1 * 0.7 / 0.7 != 0.1
    optimizer = implicit(optim.Adam, layer(), scales={"weight": 0.7})
    optimizer.param_groups[0].update(lr=0.09, eps=0.1)
    before = copy.deepcopy({k: v for k, v in optimizer.param_groups[0].items() if k != "params"})
    for _ in range(3):
        with explicit_rates(optimizer):
            pass
    assert {k: v for k, v in optimizer.param_groups[0].items() if k != "params"} == before


REFUSED = {
    "step": lambda optimizer, net: optimizer.step(),
    "state_dict": lambda optimizer, net: optimizer.state_dict(),
    "load_state_dict": lambda optimizer, net: optimizer.load_state_dict(
        implicit(optim.Adam, net, scales=C).state_dict()
    ),
    "deepcopy": lambda optimizer, net: copy.deepcopy(optimizer),
    "pickle": lambda optimizer, net: pickle.dumps(optimizer),
    "hand-over": lambda optimizer, net: equalize_lr(net, init="keep", optimizer=optimizer),
    "add_parameters": lambda optimizer, net: add_parameters(optimizer, nn.Linear(2, 2)),
}


@pytest.mark.parametrize("action", REFUSED.values(), ids=REFUSED)
def test_what_is_refused_inside(action):
    """It would take the explicit numbers for translated ones; outside it works."""
    net = layer()
    optimizer = implicit(optim.Adam, net, scales=C, lr=0.5)
    saved = optimizer.state_dict()
    net(torch.ones(1, 4)).sum().backward()
    before = net.weight.detach().clone()
    with explicit_rates(optimizer), pytest.raises(errors.InExplicitRates, match="Leave the block"):
        action(optimizer, net)
    assert torch.equal(net.weight, before)
    assert optimizer.param_groups[0]["lr"] == 0.125
    optimizer.load_state_dict(saved)
    copy.deepcopy(optimizer)
    optimizer.step()
    assert not torch.equal(net.weight, before)


def test_an_exception_inside():
    """The numbers are translated again, and the optimizer steps."""
    net = layer()
    optimizer = implicit(optim.Adam, net, scales=C, lr=0.5)

    def fail():
        optimizer.param_groups[0]["lr"] = 1.0
        raise ArithmeticError

    with pytest.raises(ArithmeticError), explicit_rates(optimizer):
        fail()
    assert optimizer.param_groups[0]["lr"] == 0.25
    optimizer.step()


def test_rates_as_tensors():
    """They change where they lie, and come back to the bit."""
    optimizer = implicit(optim.Adam, layer(), scales=C, lr=torch.tensor(0.5))
    rate = optimizer.param_groups[0]["lr"]
    with explicit_rates(optimizer):
        assert rate == 0.5
        rate.fill_(1.0)
    assert rate == 0.25
    assert optimizer.param_groups[0]["lr"] is rate


def test_groups_with_explicit_numbers_stay_as_they_are():
    """LREQAdam, optimizers under `ScaledSteps` and stock ones can be saved and stepped inside."""
    net = layer()
    scaled = optim.Adam(net.parameters(), lr=0.5)
    ScaledSteps(scaled, net, C)
    for optimizer in (
        scaled,
        implicit(LREQAdam, net, scales=C, lr=0.5),
        optim.SGD(net.parameters(), lr=0.5),
    ):
        with explicit_rates(optimizer):
            assert optimizer.param_groups[0]["lr"] == 0.5
            optimizer.step()
            optimizer.state_dict()


def test_an_optimizer_in_a_wrapper():
    """The groups are those of the optimizer inside, as behind accelerate's."""

    class Wrapper(optim.Optimizer):
        def __init__(self, optimizer):
            self.optimizer = optimizer

    optimizer = implicit(optim.Adam, layer(), scales=C, lr=0.5)
    with explicit_rates(Wrapper(optimizer)):
        assert optimizer.param_groups[0]["lr"] == 0.5
    assert optimizer.param_groups[0]["lr"] == 0.125
