"""Hand-over: what it leaves in the groups, and what it refuses while all stays as it was."""

import copy
from functools import partial

import pytest
import torch
from torch import nn, optim
from torch.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau

from equalized_lr import equalize_lr, errors, is_equalized, remove_equalized_lr
from equalized_lr.optim import ScaledSteps, implicit
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
    assert first["scale"] == 2**0.5 / 12**0.5
    assert first["lr"] == 0.01 * first["scale"]
    assert biases["lr"] == 0.01
    assert second["eps"] == 1e-8 / 0.5
    equalize_lr(net, init="keep", optimizer=optimizer)
    for group in optimizer.param_groups:
        assert group.get("scale", 1.0) == 1.0
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
    assert "scale" not in optimizer.param_groups[1]


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


def test_a_plateau_is_a_scheduler():
    """ReduceLROnPlateau leaves no mark on the optimizer, and is found all the same."""
    net = equalize_lr(mlp())
    optimizer = optim.SGD(net.parameters(), lr=1.0)
    schedule = ReduceLROnPlateau(optimizer)
    with pytest.raises(errors.SchedulerAttached, match="Plateau"):
        remove_equalized_lr(net, optimizer=optimizer)
    assert schedule.optimizer is optimizer


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


def test_a_scheduler_is_refused_while_it_lives():
    """Its rates are for other groups; after it, a new one goes on from 'initial_lr'."""
    net = equalize_lr(mlp())
    twin = copy.deepcopy(net)
    optimizer, theirs = optim.Adam(net.parameters(), lr=0.1), optim.Adam(twin.parameters(), lr=0.1)
    schedule, expected = ExponentialLR(optimizer, 0.5), ExponentialLR(theirs, 0.5)
    for _ in range(2):
        stepped(net, optimizer, 1), schedule.step()
        stepped(twin, theirs, 1), expected.step()
    before = Snapshot(net)
    with pytest.raises(errors.SchedulerAttached, match="ExponentialLR"):
        remove_equalized_lr(net, optimizer=optimizer)
    before.assert_unchanged()
    epoch = schedule.last_epoch
    del schedule
    remove_equalized_lr(net, optimizer=optimizer)
    schedule = ExponentialLR(optimizer, 0.5, last_epoch=epoch - 1)
    stepped(net, optimizer, 1), schedule.step()
    stepped(twin, theirs, 1), expected.step()
    scales = [group["scale"] for group in optimizer.param_groups if "scale" in group]
    rates = [group["lr"] / group.get("scale", 1.0) for group in optimizer.param_groups]
    assert len(scales) == 2
    assert rates == pytest.approx([theirs.param_groups[0]["lr"]] * 3)
    assert distance(net, twin) < 1e-13


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
    assert not steps.constants
    remove_equalized_lr(net, optimizer=optimizer)
    assert sorted(steps.constants.values()) == pytest.approx([(2 / 12) ** 0.5, 0.5])
    stepped(net, optimizer)
    equalize_lr(net, init="keep", optimizer=optimizer)
    assert not steps.constants
    train_before = copy.deepcopy(net.state_dict())
    stepped(net, optimizer)
    assert any(not torch.equal(v, train_before[k]) for k, v in net.state_dict().items())
