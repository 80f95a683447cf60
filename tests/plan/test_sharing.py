"""Who else holds a Parameter is found only where it matters, and never guessed."""

import copy
import gc

import pytest
import torch
from torch import nn

from equalized_lr import equalize_lr, errors, remove_equalized_lr, tensors
from equalized_lr.plan.sharing import refuse_outside_holders
from equalized_lr.plan.slots import Slot


@pytest.fixture
def searched(monkeypatch):
    """Counts the searches through the live modules."""
    calls = []
    search = tensors.living

    def counting(kind):
        calls.append(kind)
        return search(kind)

    monkeypatch.setattr(tensors, "living", counting)
    return calls


def test_a_fresh_model_is_not_searched_for(searched):
    """Parameters that only their layers hold cost no search, alone or tied inside."""
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Conv1d(3, 3, 1))
    net[1].weight = net[0].weight
    equalize_lr(net)
    remove_equalized_lr(net)
    assert searched == []


def test_another_reference_is_looked_into(searched):
    """An optimizer that holds a Parameter leads to one search, which finds nothing."""
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    optimizer = torch.optim.SGD(net.parameters())
    equalize_lr(net)
    assert searched == [nn.Module]
    assert optimizer.param_groups[0]["params"][0] is net[0].weight_orig


def test_a_module_that_died_does_not_count(searched):
    """A holder that is garbage, but not collected yet, is no holder."""
    net, other = nn.Linear(3, 3), nn.Linear(3, 3)
    other.weight, other.cycle = net.weight, [other]
    gc.disable()
    try:
        del other
        equalize_lr(net)
    finally:
        gc.enable()
    assert searched == [nn.Module, nn.Module]


def test_a_shallow_copy_of_any_layer_is_found():
    """It shares its layer's dict of Parameters, whose references are counted for each layer."""
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    twin = copy.copy(net[0])
    with pytest.raises(errors.TiedElsewhere, match=r"'0.weight' \(Linear\) is shared"):
        equalize_lr(net)
    assert twin.weight is net[0].weight


def test_lists_of_parameters_count_as_holders():
    """A ParameterList outside would read stored values, so it is an error; inside it follows."""
    layer = nn.Linear(3, 3)
    outside = nn.ParameterList([layer.weight])
    with pytest.raises(errors.TiedElsewhere, match="ParameterList"):
        equalize_lr(layer)
    net = equalize_lr(nn.ModuleList([layer, outside]))
    assert torch.equal(net[1][0], layer.weight)


def test_objects_that_pretend_are_not_touched():
    """A search does not run the `__class__` of proxies that live in memory."""

    class Proxy:
        @property
        def __class__(self):
            raise AssertionError("a proxy was touched")

    proxy, layer = Proxy(), nn.Linear(3, 3)
    reference = layer.weight
    equalize_lr(layer)
    assert reference is layer.weight_orig
    del proxy


def test_slots_name_their_place():
    """A slot says its qualified name and its layer's kind, plain or equalized."""
    net = nn.ModuleDict({"a": nn.Linear(3, 3, bias=False)})
    slot = Slot("a", net["a"], "weight")
    assert (str(slot), slot.qualified_name) == ("'a.weight' (Linear)", "a.weight")
    parameter = slot.parameter
    equalize_lr(net)
    assert slot.parameter is parameter
    assert str(Slot("", net["a"], "weight")) == "'weight' (Linear)"


def test_nothing_to_search_for():
    """No ties are no trouble."""
    refuse_outside_holders([])
