"""`implicit`, `param_groups` and `init_`: what they make, what they refuse, and for whom."""

import copy
import math

import pytest
import torch
from hypothesis import given
from torch import nn, optim

from equalized_lr import equalize_lr, errors, he_scales, remove_equalized_lr
from equalized_lr.optim import LREQAdam, implicit, init_, param_groups
from tests.support.assertions import Snapshot, assert_equal
from tests.support.strategies import gains, lr_muls, samples, seeds
from tests.support.trajectories import distance, explicit_of, fixed, train


def mlp(*, bias=True):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(200, 50, bias=bias), nn.ReLU(), nn.Linear(50, 2, bias=bias))


@given(samples(), gains, lr_muls, seeds)
def test_init_draws_what_the_explicit_form_computes_with(sample, gain, lr_mul, seed):
    """The same random numbers, the same weights to the last bit, and biases of zero."""
    plain, layer = copy.deepcopy(sample.layer), sample.layer
    torch.manual_seed(seed)
    equalize_lr(layer, gain=gain, lr_mul=lr_mul)
    torch.manual_seed(seed)
    assert init_(plain, gain=gain, lr_mul=lr_mul) is plain
    for (name, value), (_, expected) in zip(
        plain.named_parameters(), remove_equalized_lr(layer).named_parameters(), strict=True
    ):
        assert_equal(value, expected), name
        assert value.requires_grad


def test_init_takes_a_generator_and_a_choice():
    """Only the chosen layers change; equalized ones are left alone."""
    net = mlp()
    equalize_lr(net[2])
    before = Snapshot(net[2])
    init_(net, generator=torch.Generator().manual_seed(3), where=lambda path, _: path != "")
    before.assert_unchanged()
    expected = torch.randn(50, 200, generator=torch.Generator().manual_seed(3)) * 0.1
    assert_equal(net[0].weight.detach(), expected)
    with pytest.raises(errors.NothingToEqualize):
        init_(net, where=lambda path, _: path == "2")
    before.assert_unchanged()


def test_groups_by_constant():
    """One group for each c, in the order in which they come, with names and c."""
    net = nn.Sequential(*(nn.Linear(8, 8) for _ in range(20)))
    optimizer = implicit(optim.Adam, net, lr=0.1)
    weights, biases = optimizer.param_groups
    assert weights["equalized_scale"] == 0.5
    assert biases["equalized_scale"] == 1.0
    assert weights["param_names"] == [f"{i}.weight" for i in range(20)]
    assert (weights["lr"], weights["eps"]) == (0.05, 2e-8)
    assert (biases["lr"], biases["eps"]) == (0.1, 1e-8)
    assert type(optimizer) is optim.Adam


def test_mixed_models():
    """Equalized weights are stored ones already and take the numbers as they are given."""
    net = mlp()
    equalize_lr(net[0])
    optimizer = implicit(optim.SGD, net, lr=1.0)
    scales = {n: g["equalized_scale"] for g in optimizer.param_groups for n in g["param_names"]}
    expected = {"0.weight_orig": 1.0, "0.bias": 1.0, "2.weight": 0.2, "2.bias": 1.0}
    assert scales == pytest.approx(expected, rel=1e-15)
    assert he_scales(net)["0.weight"] == 0.1
    with pytest.raises(errors.InvalidArgument, match="the c in force"):
        implicit(optim.SGD, net, scales={"0.weight": 0.3})


def test_scales_that_do_not_fit():
    """Unknown names, impossible numbers, and a tie with two constants are refused."""
    net = mlp()
    for scales in ({"0.wieght": 1.0}, {"0.weight": 0.0}, {"0.weight": math.nan}, {"0.bias": True}):
        with pytest.raises(errors.InvalidArgument, match="scales"):
            implicit(optim.SGD, net, scales=scales, lr=1.0)
    tied = nn.ModuleDict({"embed": nn.Embedding(5, 4), "head": nn.Linear(4, 5, bias=False)})
    tied["head"].weight = tied["embed"].weight
    with pytest.raises(errors.ConflictingTie):
        implicit(optim.SGD, tied, scales={"embed.weight": 1.0, "head.weight": 0.5}, lr=1.0)
    assert len(implicit(optim.SGD, tied, lr=1.0).param_groups) == 1


def test_groups_of_the_user():
    """Groups with settings of their own keep them, translated; other parameters are as given."""
    net, other = mlp(), nn.Parameter(torch.zeros(2))
    groups = [
        {"params": [net[0].weight, net[0].bias], "weight_decay": 0.1, "lr": 1.0},
        {"params": net[2].weight},
        {"params": [("mine", other)]},
    ]
    optimizer = implicit(optim.AdamW, net, params=groups, lr=0.5)
    seen = [
        (g["param_names"], g["equalized_scale"], g["lr"], g["weight_decay"])
        for g in optimizer.param_groups
    ]
    assert seen == [
        (["0.weight"], 0.1, 0.1, 1.0),
        (["0.bias"], 1.0, 1.0, 0.1),
        (["2.weight"], 0.2, 0.1, pytest.approx(0.05)),
        (["mine"], 1.0, 0.5, 0.01),
    ]
    made = param_groups(optim.AdamW, net, params=groups, lr=0.5)
    assert [g["lr"] for g in made] == [g["lr"] for g in optimizer.param_groups]


def test_generators_of_parameters():
    """As for every optimizer of torch, an iterator will do; an empty one will not."""
    net = mlp()
    optimizer = implicit(optim.SGD, net, params=net[0].parameters(), lr=1.0)
    assert [g["param_names"] for g in optimizer.param_groups] == [["0.weight"], ["0.bias"]]
    with pytest.raises(errors.InvalidArgument, match="at least one"):
        implicit(optim.SGD, net, params=[], lr=1.0)


def test_unknown_classes():
    """LBFGS, subclasses and others point to `ScaledSteps`; nothing is inherited."""
    changed = type("Changed", (optim.Adam,), {})
    for kind in (optim.LBFGS, changed, optim.Optimizer):
        for verb in (implicit, param_groups):
            with pytest.raises(errors.UnknownOptimizer, match="ScaledSteps"):
                verb(kind, mlp(), lr=0.1)


def test_hyperparameters_are_checked_by_torch():
    """What the class refuses it refuses here, too."""
    with pytest.raises(ValueError, match="Invalid learning rate"):
        implicit(optim.Adam, mlp(), lr=-1.0)
    with pytest.raises(TypeError, match="unexpected keyword"):
        param_groups(optim.Adam, mlp(), momentum=0.9)


def test_rates_as_tensors():
    """Each group gets a tensor of its own, which schedulers may change in place."""
    rate = torch.tensor(0.1, dtype=torch.float64)
    optimizer = implicit(optim.Adam, mlp(), lr=rate)
    assert [float(g["lr"]) for g in optimizer.param_groups] == pytest.approx([0.01, 0.1, 0.02])
    optimizer.param_groups[0]["lr"].fill_(5.0)
    assert rate == 0.1


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW, optim.Adagrad])
@pytest.mark.parametrize("option", [{"fused": True}, {"foreach": True}, {"foreach": False}])
def test_variants(kind, option):
    """Fused, multi-tensor and plain loops follow the same trajectory."""
    net, scales = fixed()
    expected = copy.deepcopy(net)
    train(expected, implicit(kind, expected, scales=scales, lr=0.01), range(10))
    train(net, implicit(kind, net, scales=scales, lr=0.01, **option), range(10))
    assert distance(net, expected) < 1e-14


def test_sparse_gradients():
    """SparseAdam on an embedding: the same rows move by the same steps in both forms."""
    plain = nn.Embedding(6, 3, sparse=True, dtype=torch.float64)
    explicit = equalize_lr(copy.deepcopy(plain), "weight", fan=1, gain=0.07, init="keep")
    pairs = [
        (explicit, optim.SparseAdam(explicit.parameters(), lr=0.01, eps=1e-3)),
        (plain, implicit(optim.SparseAdam, plain, scales={"weight": 0.07}, lr=0.01, eps=1e-3)),
    ]
    for step in range(50):
        rows = torch.tensor([step % 6, (step * step) % 6])
        for model, optimizer in pairs:
            optimizer.zero_grad()
            model(rows).square().sum().backward()
            optimizer.step()
    assert distance(explicit, plain) < 1e-13


def test_a_frozen_weight_that_trains_later():
    """It is in its group from the beginning, and its steps count from its first."""
    net = mlp()
    net[0].weight.requires_grad_(False)
    before = net[0].weight.detach().clone()
    optimizer = implicit(LREQAdam, net, lr=0.1)
    for frozen in (True, False):
        net[0].weight.requires_grad_(not frozen)
        net(torch.ones(1, 200)).sum().backward()
        optimizer.step()
        assert torch.equal(net[0].weight, before) == frozen


@pytest.mark.filterwarnings("ignore")  # of dynamo, about itself
@pytest.mark.parametrize("kind", [optim.Adam, optim.RAdam, LREQAdam])
def test_compiled_steps(kind):
    """With torch.compile(optimizer.step) in both forms they agree, in RAdam's two phases too."""
    torch._dynamo.reset()
    net, scales = fixed()
    explicit = explicit_of(net, scales)
    groups = [{"params": [p]} for p in explicit.parameters()]
    pairs = [
        (net, implicit(kind, net, scales=scales, lr=0.01, eps=1e-30)),
        (explicit, kind(groups, lr=0.01, eps=1e-30)),
    ]
    for model, optimizer in pairs:
        step = optimizer.step
        optimizer.step = torch.compile(step, backend="eager")
        train(model, optimizer, range(8))
    # compiled, torch computes RAdam's corrections in float32
    assert distance(net, explicit) < 1e-6
