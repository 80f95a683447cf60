"""What a translated optimizer refuses, and what it reads of files from before."""

import copy

import pytest
import torch
from torch import nn, optim

from equalized_lr import equalize_lr, errors, remove_equalized_lr
from equalized_lr.optim import LREQAdam, ScaledSteps, clip_grad_norm_, implicit, param_groups
from tests.support.assertions import assert_equal

SCALES = {"0.weight": 0.25, "2.weight": 0.5}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))


def stepped(net, optimizer, steps=2):
    for step in range(steps):
        optimizer.zero_grad()
        net(torch.full((3, 4), step + 1.0)).sin().sum().backward()
        optimizer.step()
    return optimizer


def explicit_groups(net, kind):
    """The groups of the implicit form, with explicit numbers: equal sizes, other meaning."""
    groups = [[net[0].weight], [net[0].bias, net[2].bias], [net[2].weight]]
    return kind([{"params": group} for group in groups], lr=0.1)


MAKERS = {
    "implicit": lambda net: implicit(optim.Adam, net, scales=SCALES, lr=0.1),
    "LREQAdam": lambda net: implicit(LREQAdam, net, scales=SCALES, lr=0.1),
    "LREQAdam of groups": lambda net: LREQAdam(param_groups(LREQAdam, net, scales=SCALES)),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_state_of_the_explicit_form(make):
    """It would lose c: refused, and the optimizer goes on as it was."""
    net = network()
    theirs = network()
    kind = type(make(network()))
    saved = stepped(theirs, explicit_groups(theirs, kind)).state_dict()
    optimizer = stepped(net, make(net))
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(errors.OtherForm, match="c = 1 .* c is 0.25"):
        optimizer.load_state_dict(saved)
    assert str(optimizer.state_dict()) == str(before)
    optimizer.load_state_dict(before)


def test_a_state_of_the_implicit_form():
    """Refused by optimizers of the explicit form that have been handed over, or run scaled."""
    plain = network()
    saved = stepped(plain, implicit(optim.Adam, plain, scales=SCALES, lr=0.1)).state_dict()
    net = network()
    handed_over = stepped(net, implicit(optim.Adam, net, lr=0.1))
    equalize_lr(net, init="keep", optimizer=handed_over)
    with pytest.raises(errors.OtherForm, match="c = 0.25 .* c is 1"):
        handed_over.load_state_dict(saved)
    net = network()
    scaled = explicit_groups(net, optim.Adam)
    ScaledSteps(scaled, net)
    with pytest.raises(errors.OtherForm):
        scaled.load_state_dict(saved)
    explicit = equalize_lr(network())
    lreqadam = LREQAdam([explicit[0].weight_orig])
    theirs = implicit(LREQAdam, nn.Linear(4, 4, bias=False), lr=0.1)
    with pytest.raises(errors.OtherForm):
        lreqadam.load_state_dict(theirs.state_dict())


def test_states_of_one_form():
    """Those of the same form load, also with another c, which goes with its numbers."""
    net, other = network(), network()
    saved = stepped(net, implicit(optim.Adam, net, scales=SCALES, lr=0.1)).state_dict()
    other_scales = {name: 3 * c for name, c in SCALES.items()}
    optimizer = implicit(optim.Adam, other, scales=other_scales, lr=3.0)
    optimizer.load_state_dict(saved)
    assert [group["equalized_scale"] for group in optimizer.param_groups] == [0.25, 1.0, 0.5]
    assert [group["lr"] for group in optimizer.param_groups] == [0.1 * 0.25, 0.1, 0.1 * 0.5]


def old(state_dict):
    """As it was saved when c stood under "scale"."""
    saved = copy.deepcopy(state_dict)
    for group in saved["param_groups"]:
        group["scale"] = group.pop("equalized_scale")
    return saved


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_state_dicts_with_the_old_key(make):
    """They are read where they are known to be ours, and go on as they would have."""
    net, twin = network(), network()
    optimizer, again = stepped(net, make(net)), make(twin)
    twin.load_state_dict(net.state_dict())
    again.load_state_dict(old(optimizer.state_dict()))
    assert again.param_groups[0]["equalized_scale"] == 0.25
    assert "scale" not in again.param_groups[0]
    stepped(net, optimizer), stepped(twin, again)
    assert_equal(twin[0].weight.detach(), net[0].weight.detach())


def test_the_old_key_of_lreqadams_groups():
    """Its own option of that name is still taken."""
    optimizer = LREQAdam([{"params": [nn.Parameter(torch.ones(2))], "scale": 0.1}])
    (group,) = optimizer.param_groups
    assert group["equalized_scale"] == 0.1
    assert "scale" not in group


def test_the_key_of_other_packages():
    """GaLore's "scale" is not c: neither for the norm of gradients nor in a state_dict."""
    p = nn.Parameter(torch.ones(4, 9))
    optimizer = optim.SGD([{"params": [p], "rank": 2, "scale": 0.25}], lr=0.1)
    p.grad = torch.ones_like(p)
    assert clip_grad_norm_(optimizer, 1e9) == 6.0
    net = network()
    ours = implicit(optim.SGD, net, scales=SCALES, lr=0.1)
    theirs = copy.deepcopy(ours.state_dict())
    for group in theirs["param_groups"]:
        group.update(scale=0.125, rank=2)
        del group["equalized_scale"]
    with pytest.raises(errors.OtherForm):
        ours.load_state_dict(theirs)


def handed_over(net):
    equalize_lr(net, init="keep")
    optimizer = optim.Adam(net.parameters())
    remove_equalized_lr(net, optimizer=optimizer)
    return optimizer


def scaled(net):
    optimizer = optim.Adam(net.parameters())
    ScaledSteps(optimizer, net)
    return optimizer


ADDING = {
    **MAKERS,
    "handed over": handed_over,
    "RAdam": lambda net: implicit(optim.RAdam, net, scales=SCALES, lr=0.1),
    "ScaledSteps": scaled,
}


@pytest.mark.parametrize("make", ADDING.values(), ids=ADDING)
def test_a_group_that_does_not_say_its_c(make):
    """Refused with the call that adds it; one that says it is taken."""
    net, block = network(), nn.Linear(2, 2)
    optimizer = make(net)
    count = len(optimizer.param_groups)
    named = "param_names" in optimizer.param_groups[0]
    params = list(block.named_parameters() if named else block.parameters())
    with pytest.raises(errors.UnknownScale, match="add_parameters"):
        optimizer.add_param_group({"params": params})
    assert len(optimizer.param_groups) == count
    optimizer.add_param_group({"params": params, "equalized_scale": 1.0})
    stepped(net.append(block), optimizer)


@pytest.mark.parametrize("copied", [False, True])
def test_groups_that_join_optimizers_of_param_groups(copied):
    """Nobody sees them join, and so the next step refuses, before anything has moved."""
    net, block = network(), nn.Linear(2, 2)
    optimizer = optim.Adam(param_groups(optim.Adam, net, scales=SCALES, lr=0.1))
    if copied:
        net, optimizer = copy.deepcopy((net, implicit(optim.Adam, net, scales=SCALES, lr=0.1)))
    with pytest.raises(ValueError, match="names"):  # by torch itself
        optimizer.add_param_group({"params": block.parameters()})
    optimizer.add_param_group({"params": block.named_parameters()})
    before = net[0].weight.detach().clone()
    net(torch.ones(1, 4)).sum().backward()
    with pytest.raises(errors.UnknownScale, match="add_parameters"):
        optimizer.step()
    assert_equal(net[0].weight.detach(), before)
    optim.SGD(net.parameters(), lr=0.1).step()  # other optimizers are none of its business
