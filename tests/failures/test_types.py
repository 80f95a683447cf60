"""What an equalized layer looks like to code that asks."""

import torch
from torch import nn

from equalized_lr import errors
from tests.support.mechanisms import EQUALIZED, common_hook, net, x


@common_hook("holds")
def test_isinstance_and_class_name(mechanism):
    """An equalized Linear is a Linear, by class and by name."""
    model, _ = mechanism.twins(nn.Linear(6, 3))
    assert isinstance(model, nn.Linear)
    assert type(model).__name__ == "Linear"
    assert type(model).__module__ == "torch.nn.modules.linear"


@common_hook("holds")
def test_no_extra_modules(mechanism):
    """No module is added, under no name."""
    model, plain = mechanism.twins(net())
    assert [name for name, _ in model.named_modules()] == [n for n, _ in plain.named_modules()]


@common_hook("holds")
def test_two_layers_share_a_class(mechanism):
    """Two equalized layers of one kind are of one class."""
    model, _ = mechanism.twins(net())
    assert type(model[0]) is type(model[2])


@common_hook("holds")
def test_repr_is_short(mechanism):
    """The repr has a line per layer."""
    model, plain = mechanism.twins(net())
    assert len(repr(model).splitlines()) == len(repr(plain).splitlines())


def test_what_no_mechanism_can_do():
    """Rows of docs/limitations.md, as they are today: a change here is to be told there."""
    model, _plain = EQUALIZED.twins(net())
    assert type(model[0]) is not nn.Linear
    assert not any(name.endswith("weight") for name, _ in model.named_parameters())
    model(x()).sum().backward()
    assert not model[0].weight.is_leaf
    assert model[0].weight.requires_grad
    held = model[0].weight
    before = held.detach().clone()
    held.data.fill_(5.0)
    assert torch.equal(model[0].weight, before)
    assert issubclass(errors.NotConvertible, RuntimeError)
