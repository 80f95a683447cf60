"""`he_scales`, the one source of constants."""

import pytest
import torch
from hypothesis import given
from torch import nn

from equalized_lr import equalize_lr, errors, he_scales
from tests.support.strategies import gains, lr_muls, samples


@given(samples(), gains, lr_muls)
def test_what_would_be_is_what_will_be(sample, gain, lr_mul):
    """The constants of a plain model are those that equalize_lr then puts in force."""
    foretold = he_scales(sample.layer, gain=gain, lr_mul=lr_mul)
    equalize_lr(sample.layer, gain=gain, lr_mul=lr_mul)
    assert he_scales(sample.layer) == foretold


@given(samples(), lr_muls)
def test_names_are_plain_and_in_order(sample, lr_mul):
    """Names are those of the plain model's parameters, in their order, equalized or not."""
    names = [name for name, _ in sample.layer.named_parameters()]
    for _ in range(2):
        scaled = list(he_scales(sample.layer, lr_mul=lr_mul))
        assert scaled == [name for name in names if name in scaled]
        if not any(name.endswith("_orig") for name, _ in sample.layer.named_parameters()):
            equalize_lr(sample.layer, lr_mul=lr_mul)


def test_mixed_models():
    """Equalized layers show their c in force, plain ones the c that they would get."""
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    equalize_lr(net[0], gain=4.0)
    assert he_scales(net, gain=1.0) == {"0.weight": 2.0, "1.weight": 0.5}
    assert he_scales(net, gain=1.0, where=lambda name, _: name == "1") == {"1.weight": 0.5}


def test_nothing_is_no_error():
    """A model without weights has no constants, and asking does not change anything."""
    assert he_scales(nn.ReLU()) == {}


def test_constants_of_shards_can_be_asked():
    """The constants depend on shapes only, so also meta tensors and integers have them."""
    assert he_scales(nn.Linear(4, 4, device="meta"), gain=1) == {"weight": 0.5}


def test_what_has_no_constant_is_an_error():
    """Lazy layers have no fan yet, and a conflicting tie has no single constant."""
    with pytest.raises(errors.LazyWeight, match="'weight'"):
        he_scales(nn.LazyLinear(3))
    with pytest.raises(errors.InvalidArgument, match="mode='fan_avg'"):
        he_scales(nn.Linear(2, 2), mode="fan_avg")


def test_under_a_parametrization_of_the_stored_weight():
    """With torch's spectral_norm on weight_orig the constant in force is still found."""
    layer = equalize_lr(nn.Linear(4, 4), gain=1)
    nn.utils.parametrizations.spectral_norm(layer, "weight_orig")
    assert he_scales(layer) == {"weight": 0.5}
    assert torch.equal(layer.eval().weight, 0.5 * layer.weight_orig)


def test_where_selects_plain_and_equalized_weights():
    """By the module's path and by the module, in either form."""
    net = nn.ModuleDict({name: nn.Sequential(nn.Linear(3, 2)) for name in "abc"})
    equalize_lr(net["a"])
    assert list(he_scales(net, where=lambda path, _: path in ("a.0", "b.0"))) == [
        "a.0.weight",
        "b.0.weight",
    ]
    chosen = net["a"][0], net["c"][0]
    assert list(he_scales(net, where=lambda _, module: module in chosen)) == [
        "a.0.weight",
        "c.0.weight",
    ]
