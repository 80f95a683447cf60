"""What a call means, decided before anything is touched."""

import pytest
from torch import nn

from equalized_lr import equalize_lr, errors
from equalized_lr.plan.plan import plan_equalizing, plan_model, plan_removal
from equalized_lr.plan.rule import Rule
from tests.support.assertions import Snapshot

RULE = Rule.checked(1.0, "fan_in", 1.0)
LR_MUL = Rule.checked(1.0, "fan_in", 0.5)


def names(shares):
    return {slot.qualified_name: share.scale for share in shares for slot in share.slots}


def test_a_whole_model():
    """Weights by their fans, their biases beside them, and nothing is changed."""
    net = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(16, 2))
    before = Snapshot(net)
    plan = plan_model(net, RULE, None)
    assert names(plan.weights) == {"0.weight": 0.5, "2.weight": 0.25}
    assert plan.biases == []
    assert [slot.qualified_name for slot in plan.plain_biases] == ["0.bias", "2.bias"]
    scaled = plan_model(net, LR_MUL, lambda path, _: path == "0")
    assert names(scaled.shares) == {"0.weight": 0.25, "0.bias": 0.5}
    assert plan.scales == {net[0].weight: 0.5, net[2].weight: 0.25}
    before.assert_unchanged()


def test_ties_are_one_share():
    """A Parameter of two layers has one scale and both places."""
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4, bias=False))
    net[1].weight = net[0].weight
    (share,) = plan_model(net, RULE, None).weights
    assert [slot.qualified_name for slot in share.slots] == ["0.weight", "1.weight"]


def test_what_removal_means():
    """All of a model; or one weight with its bias, unless another weight needs the bias."""
    net = equalize_lr(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), gain=1.0, lr_mul=0.5)
    assert names(plan_removal(net, None).shares) == {
        "0.weight": 0.25,
        "0.bias": 0.5,
        "1.weight": 0.25,
        "1.bias": 0.5,
    }
    assert names(plan_removal(net[0], "weight").shares) == {"weight": 0.25, "bias": 0.5}
    with pytest.raises(errors.NotEqualized, match="'bias' of this LayerNorm"):
        plan_removal(nn.LayerNorm(2), "bias")


@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
def test_the_fan_of_one_parameter(mode):
    """What the call says wins over a mapping, and a mapping over the table, in either mode."""
    rule, layer = Rule.checked(1.0, mode, lambda fan: fan**0.5), nn.Linear(4, 4)
    by_mapping = plan_equalizing(layer, "weight", rule, None, {"weight": 16})
    assert [(share.scale, share.lr_mul) for share in by_mapping.weights] == [(1.0, 4.0)]
    by_call = plan_equalizing(layer, "weight", rule, None, {"weight": 16}, fan=64)
    assert [(share.scale, share.lr_mul) for share in by_call.weights] == [(1.0, 8.0)]
    assert [slot.qualified_name for slot in by_call.biases[0].slots] == ["bias"]


def test_arguments_that_do_not_go_together():
    """`fan` goes with a name, `where` with a whole model."""
    layer = nn.Linear(4, 4)
    with pytest.raises(errors.InvalidArgument, match="fan=3 .* it goes with name="):
        plan_equalizing(layer, None, RULE, None, fan=3)
    with pytest.raises(errors.InvalidArgument, match="where=<function .* None where one param"):
        plan_equalizing(layer, "weight", RULE, lambda *_: True)
