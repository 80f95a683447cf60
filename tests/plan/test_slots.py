"""The one walk over a model."""

import pytest
import torch
from torch import nn

from equalized_lr import Fan, equalize_lr, errors
from equalized_lr.plan.slots import Slot, bias_of, slots_of


def test_slots_of_a_mixed_model():
    """Every Parameter, in the model's order, with its plain name, its scale and its fan."""
    net = nn.Sequential(equalize_lr(nn.Linear(4, 2), gain=1.0), nn.LayerNorm(2))
    slots = [(slot.qualified_name, slot.scale, slot.fan) for slot in slots_of(net)]
    assert slots == [
        ("0.weight", 0.5, Fan(4, 2)),
        ("0.bias", None, None),
        ("1.weight", None, None),
        ("1.bias", None, None),
    ]
    assert next(slots_of(net)).parameter is net[0].weight_orig


def test_a_module_in_two_places():
    """It is walked through once, or once for each of its paths."""
    layer = nn.Linear(2, 2, bias=False)
    net = nn.Sequential(layer, layer)
    assert [slot.qualified_name for slot in slots_of(net)] == ["0.weight"]
    every = [slot.qualified_name for slot in slots_of(net, every_path=True)]
    assert every == ["0.weight", "1.weight"]


def test_ties_are_slots_of_one_parameter():
    """Two layers that share a weight have a slot each."""
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3, bias=False))
    net[1].weight = net[0].weight
    first, _, second = slots_of(net)
    assert first.parameter is second.parameter


def test_what_was_written_is_stored_first():
    """A slot's Parameter has what somebody wrote into the weight, and still holds."""
    layer = equalize_lr(nn.Linear(2, 2))
    weight, slot = layer.weight, next(slots_of(layer))
    nn.init.zeros_(weight)
    assert not slot.parameter.any()


def test_a_mapping_of_fans_wins():
    """What is given stands beside the table and above it; a number is both fans."""
    net = nn.Sequential(nn.Linear(4, 2), nn.LayerNorm(2))
    fans = {slot.qualified_name: slot.fan for slot in slots_of(net, {"0.weight": 9, "1.weight": 2})}
    assert fans["0.weight"] == Fan(9.0, 9.0)
    assert fans["1.weight"] == Fan(2.0, 2.0)
    with pytest.raises(errors.InvalidArgument, match="fans='0.wieght'.*plain names"):
        list(slots_of(net, {"0.wieght": 9}))
    with pytest.raises(errors.InvalidArgument, match=r"fans\['0.weight'\]=-1"):
        list(slots_of(net, {"0.weight": -1}))


def test_the_name_of_the_bias_stays_the_tables():
    """A mapping that does not say which bias belongs to a weight leaves that to the table."""
    attention = nn.MultiheadAttention(4, 2, kdim=6)
    slot = next(slots_of(attention, {"q_proj_weight": Fan(4, 4)}))
    assert slot.name == "q_proj_weight"
    assert bias_of(slot) == "in_proj_bias"
    slot = next(slots_of(attention, {"q_proj_weight": Fan(4, 4, "bias_k")}))
    assert slot.fan.bias == "bias_k"


def test_weights_that_something_else_computes():
    """They are in the walk, without a Parameter, so that they can be refused by name."""
    layer = torch.nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3, bias=False))
    (own, *_) = slots_of(layer)
    assert own == Slot("", layer, "weight", None, Fan(3, 3))
    assert own.find() is None


def test_how_it_reads():
    """A slot shows its name and its layer's class."""
    net = nn.ModuleDict({"a": nn.Linear(3, 3)})
    assert str(Slot("a", net["a"], "weight")) == "'a.weight' (Linear)"
    assert str(Slot("", net["a"], "weight")) == "'weight' (Linear)"
