"""Hand-over: what it leaves in the groups, and what it refuses while all stays as it was."""

import copy
from functools import partial

import pytest
import torch
from torch import nn, optim
from torch.optim import lr_scheduler

from equalized_lr import equalize_lr, errors, is_equalized, remove_equalized_lr
from equalized_lr.optim import ScaledSteps, explicit_rates, implicit
from tests.support.assertions import Snapshot
from tests.support.trajectories import distance


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def seen(optimizer):
    """Groups and state, to the last bit."""
    state = [
        {key: torch.as_tensor(value).clone() for key, value in optimizer.state[p].items()}
        for group in optimizer.param_groups
        for p in group["params"]
        if p in optimizer.state
    ]
    groups = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    return groups, [[id(p) for p in g["params"]] for g in optimizer.param_groups], str(state)


def stepped(net, optimizer, steps=3):
    for step in range(steps):
        optimizer.zero_grad()
        x = torch.randn(4, 12, generator=torch.Generator().manual_seed(step)).double()
        net(x).square().sum().backward()
        optimizer.step()


def test_there_and_back_gives_the_groups_of_before():
    """Numbers and constants of explicit groups come back."""
    net = equalize_lr(mlp())
    optimizer = optim.Adam(net.parameters(), lr=0.01)
    stepped(net, optimizer)
    remove_equalized_lr(net, optimizer=optimizer)
    first, biases, second = optimizer.param_groups
    assert first["equalized_scale"] == 2**0.5 / 12**0.5
    assert first["lr"] == 0.01 * first["equalized_scale"]
    assert biases["lr"] == 0.01
    assert second["eps"] == 1e-8 / 0.5
    equalize_lr(net, init="keep", optimizer=optimizer)
    for group in optimizer.param_groups:
        assert group.get("equalized_scale", 1.0) == 1.0
        assert group["lr"] == pytest.approx(0.01, rel=1e-15)


def test_groups_of_a_hand_over_are_those_of_implicit():
    """So that its state_dict loads into an optimizer that `implicit` makes anew."""
    net = equalize_lr(mlp())
    optimizer = optim.Adam(net.parameters(), lr=0.01, weight_decay=0.1)
    stepped(net, optimizer)
    remove_equalized_lr(net, optimizer=optimizer)
    twin = copy.deepcopy(net)
    anew = implicit(optim.Adam, twin, lr=1.0)
    anew.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    stepped(net, optimizer)
    stepped(twin, anew)
    assert distance(twin, net) == 0


def test_settings_of_groups_frozen_weights_and_other_modules():
    """Each group is translated by itself; what is not of the model is not touched."""
    net, other = equalize_lr(mlp()), nn.Linear(2, 2)
    net[0].weight_orig.requires_grad_(False)
    optimizer = optim.SGD(
        [
            {"params": [net[0].weight_orig, other.weight], "lr": 1.0},
            {"params": [net[2].weight_orig, net[2].bias], "momentum": 0.9},
        ],
        lr=0.1,
    )
    stepped(net, optimizer)
    first = optimizer.param_groups[0]
    remove_equalized_lr(net, optimizer=optimizer)
    assert optimizer.param_groups[0] is first
    numbers = [(g["lr"], g["momentum"], len(g["params"])) for g in optimizer.param_groups]
    assert numbers == [
        (pytest.approx(2 / 12), 0, 1),
        (1.0, 0, 1),
        (pytest.approx(0.1 * 0.25), 0.9, 1),
        (0.1, 0.9, 1),
    ]
    assert optimizer.param_groups[1]["params"][0] is other.weight
    assert optimizer.param_groups[1]["equalized_scale"] == 1.0


def test_several_optimizers():
    """A model that two optimizers train changes its form with both."""
    net = equalize_lr(mlp())
    optimizers = [optim.SGD(net[0].parameters(), lr=1.0), optim.Adam(net[2].parameters(), lr=1.0)]
    remove_equalized_lr(net, optimizer=optimizers)
    assert [o.param_groups[0]["lr"] for o in optimizers] == pytest.approx([2 / 12, 0.5])


def test_optimizers_that_hold_none_of_the_weights_are_passed_over():
    """The one for the biases need not be left out; alone it is an error."""
    net = equalize_lr(mlp())
    weights = optim.SGD([net[0].weight_orig, net[2].weight_orig], lr=1.0)
    biases = optim.Adam([net[0].bias, net[2].bias], lr=1.0)
    with pytest.raises(errors.NotTrained, match="Adam"):
        remove_equalized_lr(net, optimizer=[biases])
    remove_equalized_lr(net, optimizer=[weights, biases])
    assert len(weights.param_groups) == 2
    assert biases.param_groups[0]["lr"] == 1.0


def test_state_that_is_empty():
    """None, as old checkpoints have it for a momentum of zero, stays None."""
    net = equalize_lr(mlp())
    optimizer = optim.SGD(net.parameters(), lr=1.0)
    optimizer.state[net[0].weight_orig] = {"momentum_buffer": None}
    remove_equalized_lr(net, optimizer=optimizer)
    assert optimizer.state[net[0].weight]["momentum_buffer"] is None
    equalize_lr(net, init="keep")
    optimizer.state[net[0].weight_orig]["momentum_buffer"] = 3.0
    with pytest.raises(errors.UnknownState, match="momentum_buffer"):
        remove_equalized_lr(net, optimizer=optimizer)


def refusals():
    changed = type("Changed", (optim.Adam,), {})
    yield "unknown class", lambda net: changed(net.parameters()), errors.UnknownOptimizer
    yield "no optimizer", lambda net: "adam", errors.InvalidArgument

    def with_unknown_state(net):
        optimizer = optim.Adam(net.parameters())
        stepped(net, optimizer)
        optimizer.state[next(iter(net.parameters()))]["extra"] = torch.zeros(1)
        return optimizer

    yield "unknown state", with_unknown_state, errors.UnknownState


@pytest.mark.parametrize(
    ("make", "error"), [r[1:] for r in refusals()], ids=[r[0] for r in refusals()]
)
@pytest.mark.parametrize("equalized", [True, False])
def test_refusals_change_nothing(make, error, equalized):
    """Neither the model nor the optimizer, in both directions, nor others that were named."""
    net = equalize_lr(mlp()) if equalized else mlp()
    change = remove_equalized_lr if equalized else partial(equalize_lr, init="keep")
    good, bad = optim.Adam(net.parameters()), make(net)
    stepped(net, good)
    net.zero_grad()
    optimizers = [good, bad] if isinstance(bad, optim.Optimizer) else [good]
    before, states = Snapshot(net), [seen(optimizer) for optimizer in optimizers]
    with pytest.raises(error):
        change(net, optimizer=[good, bad])
    before.assert_unchanged()
    assert [seen(optimizer) for optimizer in optimizers] == states


def test_drawing_anew_with_an_optimizer_is_refused():
    """Nothing goes on where the weights are others."""
    net = mlp()
    with pytest.raises(errors.InvalidArgument, match="'keep'"):
        equalize_lr(net, optimizer=optim.Adam(net.parameters()))
    assert not is_equalized(net[0])


SCHEDULES = {
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.5),
    "StepLR": lambda o: lr_scheduler.StepLR(o, 2, 0.5),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, [2, 3, 5], 0.5),
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda n: 1 / (1 + n)),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 5, eta_min=0.01),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 2, cycle_momentum=False),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=9, cycle_momentum=False),
}


def scheduled(make, change):
    """Six steps under a schedule; after the first `at` of them, `change` may exchange it."""
    net = equalize_lr(mlp())
    optimizer = optim.Adam(net.parameters(), lr=0.1)
    schedule = make(optimizer)
    for step in range(6):
        if step == 2:
            schedule = change(net, optimizer, schedule)
        stepped(net, optimizer, 1)
        with explicit_rates(optimizer):
            schedule.step()
    rates = [g["lr"] / g.get("equalized_scale", 1.0) for g in optimizer.param_groups]
    return net, rates


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_scheduler_is_refused_and_a_new_one_goes_on(name):
    """The recipe of the error is right for every schedule, also where it stands at a milestone."""
    make = SCHEDULES[name]

    def change(net, optimizer, schedule):
        before, rates = Snapshot(net), seen(optimizer)
        with pytest.raises(errors.SchedulerAttached, match="group.pop"):
            remove_equalized_lr(net, optimizer=optimizer)
        before.assert_unchanged()
        assert seen(optimizer) == rates
        for group in optimizer.param_groups:
            group["lr"] = group.pop("initial_lr")
        remove_equalized_lr(net, optimizer=optimizer)
        with explicit_rates(optimizer):
            again = make(optimizer)
            for _ in range(schedule.last_epoch):
                again.step()
        return again

    expected, (rate,) = scheduled(make, lambda net, optimizer, schedule: schedule)
    net, rates = scheduled(make, change)
    assert rates == pytest.approx([rate] * 3, rel=1e-13)
    assert distance(net, expected) < 1e-13


@pytest.mark.parametrize("name", SCHEDULES)
def test_under_scaled_steps_a_scheduler_stays(name):
    """Its groups stay as they are, so the scheduler that there is goes on."""

    def change(net, optimizer, schedule):
        ScaledSteps(optimizer, net, scales={})
        remove_equalized_lr(net, optimizer=optimizer)
        return schedule

    expected, rates = scheduled(SCHEDULES[name], lambda net, optimizer, schedule: schedule)
    net, ours = scheduled(SCHEDULES[name], change)
    assert ours == rates
    assert distance(net, expected) < 1e-13


def test_last_epoch_is_wrong_at_a_milestone():
    """Negative control: what torch offers multiplies once more."""
    optimizer = optim.SGD(mlp().parameters(), lr=0.1)
    schedule = lr_scheduler.StepLR(optimizer, 2, 0.5)
    for _ in range(2):
        optimizer.step(), schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0.05
    lr_scheduler.StepLR(optimizer, 2, 0.5, last_epoch=1)
    assert optimizer.param_groups[0]["lr"] == 0.025


class Wrapper(optim.Optimizer):
    """Wraps an optimizer and shares its groups, as accelerate and Fabric do."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    param_groups = property(lambda self: self.optimizer.param_groups)

    def step(self, closure=None):
        return self.optimizer.step(closure)


class AbsoluteRates:
    """A scheduler of nobody's kind, as timm's: it marks the groups and sets absolute rates."""

    def __init__(self, optimizer):
        self.optimizer = optimizer
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])


@pytest.mark.parametrize(
    "attach",
    [lambda o: lr_scheduler.StepLR(Wrapper(o), 2), AbsoluteRates],
    ids=["through a wrapper", "of another package"],
)
def test_schedulers_are_known_by_their_mark(attach):
    """Whatever it goes through, and whoever made it, it leaves 'initial_lr' in the groups."""
    net = equalize_lr(mlp())
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    attach(optimizer)
    with pytest.raises(errors.SchedulerAttached):
        remove_equalized_lr(net, optimizer=optimizer)
    assert is_equalized(net[0])


def test_a_plateau_goes_on():
    """It leaves no mark and needs none: it multiplies what it finds, in `explicit_rates`."""

    def plateaus(optimizer):
        return lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, min_lr=0.02)

    runs = []
    for changes in (False, True):
        net = equalize_lr(mlp())
        optimizer = optim.Adam(net.parameters(), lr=0.1)
        schedule = plateaus(optimizer)
        for step in range(5):
            if changes and step == 2:
                remove_equalized_lr(net, optimizer=optimizer)
            stepped(net, optimizer, 1)
            with explicit_rates(optimizer):
                schedule.step(1.0)
        runs.append((net, optimizer))
    (expected, theirs), (net, ours) = runs
    rates = [g["lr"] / g.get("equalized_scale", 1.0) for g in ours.param_groups]
    assert theirs.param_groups[0]["lr"] == 0.02
    assert rates == pytest.approx([0.02] * 3, rel=1e-13)
    assert distance(net, expected) < 1e-13


def test_state_that_would_overflow_is_refused():
    """Half precision cannot hold the square of a large gradient divided by c**2."""
    net = equalize_lr(nn.Linear(4, 4, bias=False).half(), lr_mul=1e-3)
    optimizer = optim.Adam(net.parameters(), lr=0.01, foreach=False)
    net.weight_orig.grad = torch.full((4, 4), 20.0, dtype=torch.float16)
    optimizer.step()
    before, state = Snapshot(net), seen(optimizer)
    with pytest.raises(errors.Unscalable, match="exp_avg_sq"):
        remove_equalized_lr(net, optimizer=optimizer)
    before.assert_unchanged()
    assert seen(optimizer) == state


def test_under_scaled_steps_nothing_is_translated():
    """The constants follow; giving back and equalizing again ends where it began."""
    net = equalize_lr(mlp())
    optimizer = type("Changed", (optim.Adam,), {})(net.parameters())
    steps = ScaledSteps(optimizer, net)
    assert not steps.scales
    remove_equalized_lr(net, optimizer=optimizer)
    assert sorted(steps.scales.values()) == pytest.approx([(2 / 12) ** 0.5, 0.5])
    stepped(net, optimizer)
    equalize_lr(net, init="keep", optimizer=optimizer)
    assert not steps.scales
    train_before = copy.deepcopy(net.state_dict())
    stepped(net, optimizer)
    assert any(not torch.equal(v, train_before[k]) for k, v in net.state_dict().items())


def test_steps_in_inference_mode():
    """The state that they leave can be changed there only, and a hand-over does so."""
    net, twin = equalize_lr(mlp()), equalize_lr(mlp())
    twin.load_state_dict(net.state_dict())
    optimizers = [optim.Adam(each.parameters(), lr=0.01) for each in (net, twin)]
    for step in range(3):
        for each, optimizer in zip((net, twin), optimizers, strict=True):
            optimizer.zero_grad()
            each(torch.ones(1, 12).double()).square().sum().backward()
            with torch.inference_mode():
                optimizer.step()
        if step == 0:
            remove_equalized_lr(net, optimizer=optimizers[0])
    assert distance(net, remove_equalized_lr(twin)) < 1e-12
