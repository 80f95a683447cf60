"""Law 7: the explicit and the implicit form follow one trajectory.

- For every optimizer of the table, ŵ = c w holds after each of 50 steps, to 1e-13 of the largest
  weight in float64 (1e-10 for random networks and settings: where gradients nearly vanish, the
  root of their squares amplifies a rounding, and 1.4e-11 was seen; a wrong power is off by 1e-3).
- Where every c is a power of two, it holds to the last bit, in float32 too.
- The same for `ScaledSteps`, for gradient accumulation, for schedules.
- Negative controls: the neighbouring powers of c are seen, for each number in the table.
"""

import dataclasses
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import optim
from torch.optim import lr_scheduler

from equalized_lr import errors
from equalized_lr.handover import powers
from equalized_lr.optim import ScaledSteps, explicit_rates, param_groups
from equalized_lr.optional import MUON
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


@pytest.fixture(autouse=True)
def _double_counters():
    """ASGD keeps its step sizes in the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def both(kind, numbers, net, scales, **options):
    """The two forms after training: explicit, implicit."""
    explicit, implicit = explicit_of(net, scales), net
    train(explicit, explicit_optimizer(kind, explicit, numbers), **options)
    train(implicit, implicit_optimizer(kind, implicit, numbers, scales), **options)
    return explicit, implicit


@given(optimizers(), networks(), st.integers(1, 2))
def test_the_forms_agree(optimizer, network, accumulate):
    """Any network, constants and hyper-parameters: 50 steps, each on one batch or two."""
    # Random trainings amplify rounding, some a thousand times; `test_each_row` is at 1e-13.
    assert distance(*both(*optimizer, *network, accumulate=accumulate)) < 1e-10


@each_setting
def test_each_row(kind, numbers, monkeypatch):
    """Each row of the table with numbers that all matter; Muon iterates in double precision."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: self.clone())
    assert distance(*both(kind, numbers, *fixed())) < 1e-13


@each_setting
def test_powers_of_two_are_exact(kind, numbers):
    """In float32 every bit is the same."""
    net, _ = fixed(torch.float32)
    explicit, implicit = both(
        kind, numbers, net, {"0.weight": 0.25, "3.weight": 0.0625, "5.weight": 4.0}
    )
    for name, value in effective(explicit).items():
        assert_equal(effective(implicit)[name], value)


@pytest.mark.slow
@given(optimizers(), networks(powers_of_two, torch.float32))
def test_powers_of_two_are_exact_for_all(optimizer, network):
    """The same for any network and hyper-parameters."""
    explicit, implicit = both(*optimizer, *network)
    for name, value in effective(explicit).items():
        assert_equal(effective(implicit)[name], value)


@each_setting
def test_stored_coordinates_are_the_explicit_form(kind, numbers):
    """`ScaledSteps` needs no table; two roundings a step leave 13 digits, but for Muon's."""
    net, scales = fixed()
    explicit = explicit_of(net, scales)
    train(explicit, explicit_optimizer(kind, explicit, numbers))
    optimizer = explicit_optimizer(kind, net, numbers)
    ScaledSteps(optimizer, net, scales)
    train(net, optimizer)
    assert distance(explicit, net) < (1e-2 if kind is MUON else 1e-13)


SCHEDULES = {
    "StepLR": (lambda o: lr_scheduler.StepLR(o, 7, 0.5), False),
    "MultiStepLR": (lambda o: lr_scheduler.MultiStepLR(o, [5, 30]), False),
    "ExponentialLR": (lambda o: lr_scheduler.ExponentialLR(o, 0.95), False),
    "LambdaLR": (lambda o: lr_scheduler.LambdaLR(o, lambda t: 1 / (1 + t)), False),
    "LinearLR": (lambda o: lr_scheduler.LinearLR(o, 0.1, 1.0, 20), False),
    "PolynomialLR": (lambda o: lr_scheduler.PolynomialLR(o, 60, 2.0), False),
    "CosineAnnealingLR to 0": (lambda o: lr_scheduler.CosineAnnealingLR(o, 60), False),
    "CosineAnnealingLR": (lambda o: lr_scheduler.CosineAnnealingLR(o, 30, 5e-3), True),
    "CosineAnnealingWarmRestarts": (
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 9, eta_min=5e-3),
        True,
    ),
    "OneCycleLR": (lambda o: lr_scheduler.OneCycleLR(o, 0.03, total_steps=STEPS + 1), True),
    "CyclicLR": (lambda o: lr_scheduler.CyclicLR(o, 1e-3, 0.03, 5, cycle_momentum=False), True),
}


def scheduled(make, optimizer, net, *metrics, inside):
    """Trains under a schedule that is made and stepped in explicit rates, or outside of them."""
    rates = explicit_rates if inside else lambda optimizer: nullcontext()
    with rates(optimizer):
        schedule = make(optimizer)

    def step():
        with rates(optimizer):
            schedule.step(*metrics)

    train(net, optimizer, after=step)


def scheduled_distance(make, numbers, *metrics, inside):
    """How far the implicit form is from the explicit one under a schedule."""
    net, scales = fixed()
    explicit = explicit_of(net, scales)
    optimizer = explicit_optimizer(optim.Adam, explicit, numbers)
    scheduled(make, optimizer, explicit, *metrics, inside=False)
    optimizer = implicit_optimizer(optim.Adam, net, numbers, scales)
    scheduled(make, optimizer, net, *metrics, inside=inside)
    return distance(explicit, net)


@pytest.mark.parametrize(("make", "sets_rates"), SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("inside", [True, False], ids=["explicit rates", "as it is"])
def test_schedules(make, sets_rates, inside):
    """All are exact in `explicit_rates`; without it only those that multiply are."""
    apart = scheduled_distance(make, SETTINGS["Adam"][1], inside=inside)
    assert apart < 1e-13 if inside or not sets_rates else apart > 1e-3


@pytest.mark.parametrize("inside", [True, False], ids=["explicit rates", "as it is"])
def test_a_plateau(inside):
    """ReduceLROnPlateau compares with its eps, which translated rates may be below."""

    def make(optimizer):
        return lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, eps=5e-4)

    apart = scheduled_distance(make, {"lr": 0.01}, 1.0, inside=inside)
    assert apart < 1e-13 if inside else apart > 1e-3


def test_rates_of_an_unknown_class_are_not_guessed():
    """Groups that were translated for another class have no known units."""
    net, scales = fixed()
    groups = param_groups(optim.Adam, net, scales=scales, lr=0.01)
    changed = type("Changed", (optim.Adam,), {})(groups)
    with pytest.raises(errors.UnknownOptimizer), explicit_rates(changed):
        raise AssertionError


def changed(row, what, by):
    """The row with one power changed; `what` is lr, weight_decay, or another number's name."""
    if what == "lr":
        return dataclasses.replace(row, lr=row.lr + by)
    if what == "weight_decay":
        wrong = type("Wrong", (powers.Powers,), {})

        def of_group(self, group):
            right = powers.Powers.of_group(self, group)
            return right | {"weight_decay": right["weight_decay"] + by}

        wrong.of_group = of_group
        return wrong(**{f.name: getattr(row, f.name) for f in dataclasses.fields(row)})
    name, _, index = what.partition("/")
    power = row.others[name]
    if index:
        wrong = tuple(k + by if i == int(index) else k for i, k in enumerate(power))
    else:
        wrong = power + by
    return dataclasses.replace(row, others=row.others | {name: wrong})


def controls():
    for name, (kind, numbers) in SETTINGS.items():
        row = powers.POWERS[kind]
        if kind is optim.RAdam or name == "Adafactor, clamped":  # they step on stored weights
            continue
        yield case(name, name, "lr", key="lr")
        if "weight_decay" in numbers:
            yield case(name, name, "weight_decay", key="weight_decay")
        for key, power in row.others.items():
            if isinstance(power, tuple):
                keys = [f"{key}/{i}" for i in range(2) if numbers[key][i]]
            else:
                keys = [key] if key in numbers else []
            yield from (case(name, name, key, key=key) for key in keys)


@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize(("name", "what"), list(controls()))
def test_a_neighbouring_power_is_seen(name, what, by, monkeypatch):
    """Negative control for each number of the table."""
    kind, numbers = SETTINGS[name]
    monkeypatch.setitem(powers.POWERS, kind, changed(powers.POWERS[kind], what, by))
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: self.clone())
    assert not distance(*both(kind, numbers, *fixed())) < 1e-4  # NaN, too, is seen
