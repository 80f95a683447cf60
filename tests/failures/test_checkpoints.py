"""Checkpoints, and other ways in which values come into a model."""

import copy

import pytest
import torch
from torch import nn

from equalized_lr import equalize_lr, errors
from tests.support.mechanisms import EQUALIZED, close, common_hook, net, x


@common_hook("error")
def test_state_dict_into_a_fresh_model(mechanism):
    """A state_dict loaded before the first forward is what the first read sees."""
    model, plain = mechanism.twins(net())
    mechanism.assert_alike(model, plain, x())
    fresh, _ = mechanism.twins(net())
    fresh.load_state_dict(model.state_dict())
    close(fresh[0].weight, plain[0].weight)
    mechanism.assert_alike(fresh, plain, x())


@common_hook("error")
def test_a_plain_checkpoint(mechanism):
    """Plain keys are effective weights."""
    model, _plain = mechanism.twins(net())
    other = net().double()
    model.load_state_dict(other.state_dict())
    mechanism.assert_alike(model, other, x())


@common_hook("error")
def test_a_plain_checkpoint_with_a_prefix(mechanism):
    """Plain keys at any depth."""
    model, _plain = mechanism.twins(nn.ModuleDict({"net": nn.Sequential(net())}))
    other = nn.ModuleDict({"net": nn.Sequential(net())}).double()
    model.load_state_dict(other.state_dict())
    close(model["net"](x()), other["net"](x()))


def test_an_equalized_checkpoint_into_a_plain_model():
    """torch's own strict error names the stored keys; nothing is loaded by mistake."""
    model, _plain = EQUALIZED.twins(net())
    with pytest.raises(RuntimeError, match=r"Unexpected key.*weight_orig"):
        net().double().load_state_dict(model.state_dict())


@common_hook("silent")
def test_load_by_assignment(mechanism):
    """load_state_dict(assign=True) is seen by the next read."""
    model, plain = mechanism.twins(net())
    mechanism.assert_alike(model, plain, x())
    other, plain_other = mechanism.twins(net())
    model.load_state_dict(other.state_dict(), assign=True)
    close(model[0].weight, plain_other[0].weight)
    mechanism.assert_alike(model, plain_other, x())


@common_hook("error")
def test_a_model_that_begins_on_the_meta_device(mechanism):
    """Built without memory, equalized, given memory, loaded."""
    model, plain = mechanism.twins(net())
    ghost = mechanism.wrap(net().to("meta").double()).to_empty(device="cpu")
    ghost.load_state_dict(model.state_dict())
    close(ghost[0].weight, plain[0].weight)
    mechanism.assert_alike(ghost, plain, x())


@common_hook("error")
def test_a_meta_model_that_is_reset(mechanism):
    """reset_parameters() after to_empty() fills what is stored."""
    ghost = mechanism.wrap(nn.Linear(6, 3).to("meta")).to_empty(device="cpu")
    with torch.no_grad():
        for parameter in ghost.parameters():
            parameter.fill_(torch.nan)
    ghost.reset_parameters()
    assert not any(parameter.isnan().any() for parameter in ghost.parameters())
    assert ghost.weight.abs().max() <= 6**-0.5


@common_hook("silent")
def test_reset_parameters_takes_effect(mechanism):
    """What a reset draws is what the layer computes with."""
    model, plain = mechanism.twins(nn.Linear(6, 3))
    model(x()), plain(x())
    for layer in (model, plain):
        torch.manual_seed(7)
        layer.reset_parameters()
    mechanism.assert_alike(model, plain, x())


@common_hook("error")
def test_assigning_a_parameter(mechanism):
    """An assigned Parameter is the effective weight of the next forward."""
    model, plain = mechanism.twins(nn.Linear(6, 3))
    model(x())
    for layer in (model, plain):
        layer.weight = nn.Parameter(x(3, 6, seed=4))
    mechanism.assert_alike(model, plain, x())


@common_hook("silent")
def test_assigning_a_tensor(mechanism):
    """A plain tensor does not become the weight, and the layer says so and is as it was."""
    model, plain = mechanism.twins(nn.Linear(6, 3))
    model(x())
    try:
        model.weight = x(3, 6)
    except errors.NotAssignable:
        mechanism.assert_alike(model, plain, x())
    else:
        close(model(x()), nn.functional.linear(x(), x(3, 6), plain.bias))


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize(
    "value",
    [
        lambda: torch.quantize_per_tensor(torch.randn(3, 6), 0.1, 0, torch.qint8),
        lambda: torch.ones(3, 6, dtype=torch.int8),
        lambda: torch.ones(3, 6).to_sparse(),
    ],
)
def test_assigning_quantized_numbers_is_refused(value):
    """What quantizers put into `weight` cannot be divided by c."""
    model, plain = EQUALIZED.twins(nn.Linear(6, 3))
    with pytest.raises(errors.NotAssignable, match="remove_equalized_lr first"):
        model.weight = nn.Parameter(value(), requires_grad=False)
    EQUALIZED.assert_alike(model, plain, x())


@common_hook("silent")
def test_conversion_is_read_at_once(mechanism):
    """After `.to(dtype)` the weight has the dtype."""
    model, _ = mechanism.twins(nn.Linear(6, 3))
    model(x())
    assert model.float().weight.dtype == torch.float32


@common_hook("holds")
def test_channels_last(mechanism):
    """The memory format of a weight goes through."""
    model, plain = mechanism.twins(nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last))
    mechanism.assert_alike(model, plain, x(2, 2, 5, 5))
    assert model.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_checkpoint_of_another_gain_is_the_same_function():
    """The constants travel with the state_dict."""
    model, plain = EQUALIZED.twins(nn.Linear(6, 3))
    doubled = copy.deepcopy(plain)
    equalize_lr(doubled, gain=2.0)
    doubled.load_state_dict(model.state_dict())
    close(doubled(x()), plain(x()))
