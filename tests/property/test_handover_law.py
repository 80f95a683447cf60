"""Law 8: a hand-over in mid-training, in either direction and with its state, changes nothing.

- Explicit to implicit, implicit to explicit, and there and back, for every row of the table: the
  weights after 50 steps are those of a training that never changed its form.
- Also for groups with settings of their own, and for training that was never equalized.
- For powers of two and float32, to the last bit.
- Negative controls: a state that is carried over with a neighbouring power is seen.
"""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from torch import optim

from equalized_lr import equalize_lr, remove_equalized_lr
from equalized_lr.handover import powers
from equalized_lr.optim import ScaledSteps
from tests.support.assertions import assert_equal
from tests.support.trajectories import (
    SETTINGS,
    STEPS,
    case,
    distance,
    each_setting,
    effective,
    explicit_of,
    explicit_optimizer,
    fixed,
    implicit_optimizer,
    networks,
    optimizers,
    powers_of_two,
    train,
)

POWERS = {"0.weight": 0.25, "3.weight": 0.0625, "3.bias": 0.5, "5.weight": 4.0}


@pytest.fixture(autouse=True)
def _double_counters():
    """ASGD keeps its step sizes in the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(autouse=True)
def _double_newton_schulz(monkeypatch):
    """Muon in double precision: the law is about the translation, not about bfloat16."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: self.clone())


def equalize(net, scales, optimizer):
    """From the implicit form to the explicit one, layer by layer."""
    held = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    for name, c in scales.items():
        path, _, own = name.rpartition(".")
        trains = optimizer if net.get_parameter(name) in held else None  # Muon has no biases
        layer = net.get_submodule(path)
        equalize_lr(layer, own, fan=1, gain=c, init="keep", optimizer=trains)


def changing_form(kind, numbers, net, scales, at, *, explicit_first):
    """Trains 50 steps and changes the form after each number of steps in `at`."""
    if explicit_first:
        net = explicit_of(net, scales)
        optimizer = explicit_optimizer(kind, net, numbers)
    else:
        optimizer = implicit_optimizer(kind, net, numbers, scales)
    explicit, begin = explicit_first, 0
    for end in (*at, STEPS):
        train(net, optimizer, range(begin, end))
        begin = end
        if end in at:
            if explicit:
                remove_equalized_lr(net, optimizer=optimizer)
            else:
                equalize(net, scales, optimizer)
            explicit = not explicit
    return net


def one_form(kind, numbers, net, scales):
    explicit = explicit_of(net, scales)
    train(explicit, explicit_optimizer(kind, explicit, numbers))
    return explicit


CHANGES = {
    "explicit to implicit": ((25,), True),
    "implicit to explicit": ((25,), False),
    "there and back": ((10, 30), True),
    "and back again": ((3, 30), False),
    "before the first step": ((0, 20), True),
}


@pytest.mark.parametrize(("at", "explicit_first"), CHANGES.values(), ids=CHANGES)
@each_setting
def test_a_change_of_form(kind, numbers, at, explicit_first):
    """Each row, each direction."""
    expected = one_form(kind, numbers, *fixed())
    changed = changing_form(kind, numbers, *fixed(), at, explicit_first=explicit_first)
    assert distance(changed, expected) < 1e-13


@pytest.mark.slow
@settings(max_examples=15)  # each hand-over looks for other holders on the heap
@given(optimizers(), networks())
def test_any_network_there_and_back(optimizer, network):
    """Any network, constants and hyper-parameters; some amplify rounding a thousand times."""
    expected = one_form(*optimizer, *network)
    changed = changing_form(*optimizer, *network, (10, 30), explicit_first=True)
    assert distance(changed, expected) < 1e-10  # see test_implicit_law


@each_setting
def test_powers_of_two_are_exact(kind, numbers):
    """In float32 every bit is the same after two changes of form."""
    net, _ = fixed(torch.float32)
    expected = one_form(kind, numbers, net, POWERS)
    changed = changing_form(kind, numbers, net, POWERS, (10, 30), explicit_first=True)
    for name, value in effective(expected).items():
        assert_equal(effective(changed)[name], value)


@pytest.mark.slow
@settings(max_examples=15)
@given(optimizers(), networks(powers_of_two, torch.float32))
def test_powers_of_two_are_exact_for_all(optimizer, network):
    """The same for any network and hyper-parameters."""
    expected = one_form(*optimizer, *network)
    changed = changing_form(*optimizer, *network, (10, 30), explicit_first=True)
    for name, value in effective(expected).items():
        assert_equal(effective(changed)[name], value)


@each_setting
def test_plain_training_goes_on_in_the_explicit_form(kind, numbers):
    """An optimizer that was never equalized: after equalizing, the plain trajectory goes on."""
    net, scales = fixed()
    plain, _ = fixed()
    train(plain, explicit_optimizer(kind, plain, numbers))
    optimizer = explicit_optimizer(kind, net, numbers)
    train(net, optimizer, range(25))
    equalize(net, scales, optimizer)
    train(net, optimizer, range(25, STEPS))
    assert distance(net, plain) < 1e-13


@pytest.mark.parametrize("kind", [optim.LBFGS, type("Changed", (optim.Adam,), {})])
def test_classes_outside_of_the_table(kind):
    """Under `ScaledSteps` they are handed over by their constants alone."""
    numbers = {"lr": 0.01}
    runs = {}
    for at in ((), (1, 3)):
        net, scales = fixed()
        net = explicit_of(net, scales)
        optimizer = kind(net.parameters(), **numbers)
        ScaledSteps(optimizer, net)
        for step in range(5):
            if step in at and step == at[0]:
                remove_equalized_lr(net, optimizer=optimizer)
            elif step in at:
                equalize(net, scales, optimizer)
            optimizer.step(closure(net, optimizer, step))
        runs[at] = net
    assert distance(runs[()], runs[1, 3]) < 1e-12  # LBFGS amplifies rounding by its line search


def closure(net, optimizer, step):
    from tests.support.trajectories import loss_of

    def evaluate():
        optimizer.zero_grad()
        loss = loss_of(net, step)
        loss.backward()
        return loss

    return evaluate


@pytest.mark.parametrize("wrong", [False, True], ids=["right", "wrong power"])
def test_averages_follow(wrong, monkeypatch):
    """ASGD's average is that of the effective weights from the hand-over on."""
    kind, numbers = SETTINGS["ASGD"]
    if wrong:
        row = powers.POWERS[kind]
        monkeypatch.setitem(
            powers.POWERS, kind, dataclasses.replace(row, state={**row.state, "ax": 0})
        )
    net, scales = fixed()
    explicit, plain = explicit_of(net, scales), net
    optimizer = explicit_optimizer(kind, explicit, numbers)
    theirs = implicit_optimizer(kind, plain, numbers, scales)
    train(explicit, optimizer, range(15))
    remove_equalized_lr(explicit, optimizer=optimizer)
    train(explicit, optimizer, range(15, 30))
    train(plain, theirs, range(30))
    pairs = zip(explicit.parameters(), plain.parameters(), strict=True)
    apart = max((optimizer.state[p]["ax"] - theirs.state[q]["ax"]).abs().max() for p, q in pairs)
    assert apart > 1e-3 if wrong else apart < 1e-13


def controls():
    for name, (kind, _numbers) in SETTINGS.items():
        if kind is not optim.RAdam and name != "Adafactor, clamped":  # they keep their state
            for key, power in powers.POWERS[kind].state.items():
                if (power or key == "mu_product") and key not in UNSEEN.get(name, ()):
                    yield case(name, name, key, key=key)


# What a setting does not keep, or what no step depends on: of Rprop's last gradient only the
# sign counts, and ASGD's average is a result (see `test_averages_follow`).
UNSEEN = {
    "Adam": ["max_exp_avg_sq"],
    "AdamW": ["max_exp_avg_sq"],
    "RMSprop": ["grad_avg"],
    "Rprop": ["prev"],
    "ASGD": ["ax"],
}


@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize(("name", "key"), list(controls()))
def test_a_neighbouring_power_is_seen(name, key, by, monkeypatch):
    """Negative control for each part of the state."""
    kind, numbers = SETTINGS[name]
    expected = one_form(kind, numbers, *fixed())
    row = powers.POWERS[kind]
    wrong = dataclasses.replace(row, state={**row.state, key: row.state[key] + by})
    monkeypatch.setitem(powers.POWERS, kind, wrong)
    changed = changing_form(kind, numbers, *fixed(), (3,), explicit_first=True)
    assert not distance(changed, expected) < 1e-6
