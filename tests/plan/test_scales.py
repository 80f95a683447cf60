"""`he_scales`, the one source of constants."""

import math

import pytest
import torch
from hypothesis import given
from torch import nn

from equalized_lr import equalize_lr, errors, he_scales, translate_lr
from equalized_lr.optim import init_
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


def test_a_bias_that_is_computed_beside_a_weight():
    """Given scales need the Parameters that they name, and no others."""
    layer = nn.Linear(4, 4)
    nn.utils.parametrize.register_parametrization(layer, "bias", nn.Identity())
    assert translate_lr(layer, 0.1, scales={"weight": 0.5}) == 0.2


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


def test_a_rate_is_translated_by_the_geometric_mean():
    """Constants 1/2 and 1/8 make a quarter, in every form of the model."""
    net = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 3))
    scales = he_scales(net, gain=1.0)
    assert translate_lr(net, 0.01, scales=scales) == 0.04
    assert translate_lr(net, 0.01) == pytest.approx(0.04 / math.sqrt(2), rel=1e-14)
    equalize_lr(net[0], gain=1.0)
    assert translate_lr(net, 0.01) == pytest.approx(0.04 / 2**0.25, rel=1e-14)
    equalize_lr(net, gain=1.0)
    assert translate_lr(net, 0.01) == 0.04
    assert translate_lr(net, 0.01, scales={"0.weight": 0.5}) == 0.02


def test_equal_relative_steps():
    """At the translated rate one step changes the weights as much as the plain one, on average."""

    def logarithm_of_the_mean_step(net, rate):
        weights = [layer.weight.detach().clone() for layer in (net[0], net[2])]
        net(torch.randn(16, 4)).square().mean().backward()
        torch.optim.Adam(net.parameters(), lr=rate).step()
        steps = [
            (layer.weight.detach() - old).norm() / old.norm()
            for layer, old in zip((net[0], net[2]), weights, strict=True)
        ]
        return sum(math.log(step) for step in steps) / 2

    net = equalize_lr(nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 3)))
    rate = translate_lr(net, 1e-3)
    equalized = logarithm_of_the_mean_step(net, rate)
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 3))
    for name, c in he_scales(plain).items():
        nn.init.normal_(plain.get_parameter(name), std=c)
    # 256 and 192 draws: the norms before the step differ by some percent.
    assert equalized == pytest.approx(logarithm_of_the_mean_step(plain, 1e-3), abs=0.2)


def test_each_weight_counts_once():
    """Tied weights are one, and biases that lr_mul scales do not count."""
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(64, 4))
    net[1].weight = net[2].weight = net[0].weight
    assert translate_lr(net, 1.0, scales=he_scales(net, gain=1.0)) == 4
    scales = he_scales(nn.Linear(4, 4), gain=1.0, lr_mul=0.25)
    assert scales == {"weight": 0.125, "bias": 0.25}
    assert translate_lr(nn.Linear(4, 4), 1.0, scales=scales) == 8
    assert translate_lr(equalize_lr(nn.Linear(4, 4), gain=1.0, lr_mul=0.25), 1.0) == 8


def test_a_module_in_two_places():
    """Its weight may be named by either path, and counts once."""
    layer = nn.Linear(4, 4)
    net = nn.ModuleDict({"a": layer, "b": layer})
    assert translate_lr(net, 1.0, scales={"b.weight": 0.5}) == 2.0
    assert translate_lr(net, 1.0, scales={"a.weight": 0.5, "b.weight": 0.5}) == 2.0


def test_a_mapping_of_fans():
    """What is known beside the table counts, without a warning."""
    assert he_scales(nn.Linear(4, 4), gain=1.0, fans={"weight": 16}) == {"weight": 0.25}


def test_rates_that_cannot_be_translated():
    """Models without a scale, rates that are none, names and numbers that do not fit."""
    layer = nn.Linear(4, 4)
    with pytest.raises(errors.NothingToEqualize, match="this BatchNorm1d"):
        translate_lr(nn.BatchNorm1d(3), 1e-3)
    with pytest.raises(errors.NothingToEqualize):
        translate_lr(layer, 1e-3, scales={})
    for rate in (0.0, -1.0, math.inf, math.nan, "1e-3", None):
        with pytest.raises(errors.InvalidArgument, match="^lr="):
            translate_lr(layer, rate)
    with pytest.raises(errors.InvalidArgument, match="^scales='wieght'"):
        translate_lr(layer, 1e-3, scales={"wieght": 0.5})
    with pytest.raises(errors.InvalidArgument, match=r"^scales\['weight'\]=0.0"):
        translate_lr(layer, 1e-3, scales={"weight": 0.0})
    with pytest.raises(errors.NotAModule):
        translate_lr(layer.weight, 1e-3)


def test_scales_of_weights_that_something_else_computes():
    """Whoever names one is told who computes it."""
    layer = nn.utils.spectral_norm(nn.Linear(4, 4))
    for call in (translate_lr, lambda net, lr, scales: init_(net, scales=scales)):
        with pytest.raises(errors.OwnedWeight, match="SpectralNorm hook, which computes it"):
            call(layer, 1.0, scales={"weight": 0.5})
