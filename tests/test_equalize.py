"""The public verbs on whole models: what is equalized, what is not, and how it comes back."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from equalized_lr import (
    Fan,
    equalize_lr,
    errors,
    fans,
    he_scales,
    is_equalized,
    remove_equalized_lr,
)
from tests.support.assertions import Snapshot, assert_equal


def network():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(8, 4, 4, 2),
        nn.LayerNorm((4, 4)),
        nn.Flatten(),
        nn.Linear(64, 2, bias=False),
    )


def test_one_call_equalizes_every_weight_and_returns_the_module():
    """Convolutions and linear layers are stored as weight_orig; norms keep their weight."""
    net = network()
    assert equalize_lr(net) is net
    names = [name for name, _ in net.named_parameters()]
    assert names == [
        "0.weight_orig",
        "0.bias",
        "1.weight",
        "1.bias",
        "3.weight_orig",
        "3.bias",
        "4.weight",
        "4.bias",
        "6.weight_orig",
    ]
    assert [is_equalized(layer) for layer in net] == [True, False, False, True, False, False, True]
    assert net(torch.randn(2, 3, 3, 3)).shape == (2, 2)


def test_exceptions_come_first():
    """A layer that was equalized already keeps its constant in a call for the whole model."""
    net = network()
    equalize_lr(net[6], gain=1.0)
    before = net[6].weight_orig.detach().clone()
    equalize_lr(net)
    assert he_scales(net)["6.weight"] == 1 / 8
    assert_equal(net[6].weight_orig, before)


def test_where_selects_by_name_and_module():
    """`where` sees the qualified name and the module of each layer."""
    net = nn.ModuleDict({"body": network(), "head": nn.Linear(2, 2)})
    equalize_lr(net, where=lambda name, m: name.startswith("body") and not isinstance(m, nn.Linear))
    equalized = [name for name, module in net.named_modules() if is_equalized(module)]
    assert equalized == ["body.0", "body.3"]


@pytest.mark.parametrize(
    ("gain", "value"), [("relu", 2**0.5), ("tanh", 5 / 3), ("linear", 1.0), (3, 3.0)]
)
def test_gain_by_number_or_name(gain, value):
    """Gains are numbers, or names that torch.nn.init.calculate_gain knows."""
    assert he_scales(equalize_lr(nn.Linear(4, 2), gain=gain))["weight"] == value / 2


def test_the_default_gain_is_relus():
    """Without a gain it is sqrt(2)."""
    assert he_scales(equalize_lr(nn.Linear(4, 2)))["weight"] == 2**0.5 / 2


def test_mode_chooses_the_fan():
    """mode="fan_out" takes the connections out of one input."""
    assert he_scales(equalize_lr(nn.Linear(4, 16), gain=1, mode="fan_out"))["weight"] == 1 / 4


def test_lr_mul_as_a_function_of_the_fan():
    """Each layer has its own: c, the drawn values and the bias's constant follow."""
    net = nn.Sequential(nn.Linear(1024, 256), nn.ReLU(), nn.Linear(256, 1024))
    equalize_lr(net, gain=1, lr_mul=lambda fan: fan**-0.5)
    scales = he_scales(net)
    assert scales == {"0.weight": 2**-10, "0.bias": 2**-5, "2.weight": 2**-8, "2.bias": 2**-4}
    assert abs(net[0].weight_orig.std() - 32) < 0.5
    assert abs(net[2].weight_orig.std() - 16) < 0.25
    assert abs(net[0].weight.std() - 1 / 32) < 5e-4


def test_lr_mul_scales_weight_and_bias():
    """With lr_mul, c contains it, the bias is stored as bias_orig, and w is drawn wider."""
    layer = equalize_lr(nn.Linear(1024, 1024), gain=1, lr_mul=0.01)
    assert he_scales(layer) == {"weight": 0.01 / 32, "bias": 0.01}
    assert layer.weight_orig.std().item() == pytest.approx(100, rel=0.01)
    assert layer.weight.std().item() == pytest.approx(1 / 32, rel=0.01)
    assert list(layer.state_dict()) == ["weight_orig", "bias_orig"]
    nn.init.ones_(layer.bias_orig)
    assert_equal(layer.bias, torch.full((1024,), 0.01))


def test_a_named_parameter_of_any_module():
    """Any parameter of a custom module can be named, with its fan where `fans` does not know it."""

    class Custom(nn.Module):
        def __init__(self):
            super().__init__()
            self.kernel = nn.Parameter(torch.zeros(4, 25))
            self.weight = nn.Parameter(torch.zeros(2, 4))
            self.bias = nn.Parameter(torch.ones(2))

        def forward(self, x):
            return x @ self.kernel.T @ self.weight.T + self.bias

    module = equalize_lr(Custom(), "kernel", fan=25, gain=1)
    equalize_lr(module, "weight", fan=4, gain=1, lr_mul=0.5)
    assert he_scales(module) == {"kernel": 0.2, "weight": 0.25, "bias": 0.5}
    assert list(module.state_dict()) == ["kernel_orig", "weight_orig", "bias_orig"]
    assert module(torch.randn(3, 25)).shape == (3, 2)
    remove_equalized_lr(module, "weight")
    assert list(module.state_dict()) == ["kernel_orig", "weight", "bias"]
    remove_equalized_lr(module, "kernel")
    assert type(module) is Custom


def test_fan_overrides_what_fans_says():
    """A first layer on a 1 x 1 input has only `in` connections, which the caller may say."""
    layer = equalize_lr(nn.ConvTranspose2d(16, 8, 4), "weight", gain=1, fan=16)
    assert he_scales(layer)["weight"] == 1 / 4


def test_a_registered_layer_type_takes_part_in_a_whole_model_call():
    """After `fans.register` a layer of one's own is equalized with all others."""

    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(16, 4))

    fans.register(Rows, lambda layer: {"weight": Fan(16, 4)})
    net = equalize_lr(nn.Sequential(Rows(), nn.Linear(4, 4)), gain=1)
    assert he_scales(net) == {"0.weight": 0.25, "1.weight": 0.5}


def test_modules_that_read_a_childs_weight():
    """Attention reads out_proj.weight without calling out_proj; its gradient must arrive."""
    net = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    plain = copy.deepcopy(net)
    equalize_lr(net, init="keep")
    x = torch.randn(2, 3, 8)
    torch.testing.assert_close(net(x), plain(x), rtol=1e-5, atol=1e-6)
    net(x).square().sum().backward()
    plain(x).square().sum().backward()
    scales = he_scales(net)
    for name, parameter in plain.named_parameters():
        stored = net.get_parameter(name + "_orig" if name in scales else name)
        expected = parameter.grad * scales.get(name, 1.0)
        torch.testing.assert_close(stored.grad, expected, rtol=1e-3, atol=1e-5)
    for model in (net.eval(), plain.eval()):
        model.eval()
    with torch.no_grad():
        torch.testing.assert_close(net(x), plain(x), rtol=1e-5, atol=1e-6)


class Tied(nn.Module):
    """An embedding and an output layer with one weight."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 8, padding_idx=0)
        self.head = nn.Linear(8, 5, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        return self.head(self.embed(tokens))


def test_a_tied_weight_stays_one_parameter_with_one_scale():
    """The embedding follows the output layer: one Parameter, one c, both ends effective."""
    net, tokens = Tied(), torch.arange(5)
    parameter, expected = net.head.weight, net(tokens)
    equalize_lr(net, init="keep", gain=2**-0.5)
    assert net.head.weight_orig is net.embed.weight_orig is parameter
    assert he_scales(net) == {"embed.weight": 0.25, "head.weight": 0.25}
    assert_equal(net(tokens), expected)
    remove_equalized_lr(net)
    assert net.head.weight is net.embed.weight is parameter
    assert_equal(net(tokens), expected)


def test_a_redrawn_tie_keeps_the_padding_row_at_zero():
    """An embedding's padding vector stays zero when its tied weight is drawn anew."""
    net = equalize_lr(Tied())
    assert_equal(net.embed.weight[0], torch.zeros(8))
    assert net.embed.weight[1:].abs().min() > 0


def test_a_tie_follows_the_layer_that_where_selects():
    """Selecting one holder equalizes the Parameter in all its holders."""
    net = equalize_lr(Tied(), where=lambda name, module: name == "head")
    assert is_equalized(net.embed)


def test_a_tie_is_given_back_as_a_whole():
    """Naming one end of a tie gives both ends back, since they are one Parameter."""

    class TwoNames(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2, 4))
            self.child = nn.Linear(4, 2, bias=False)
            self.child.weight = self.weight

    net = equalize_lr(TwoNames(), init="keep", gain=1)
    remove_equalized_lr(net, "weight")
    assert_equal(net.child.weight, torch.ones(2, 4))
    assert type(net.child) is nn.Linear


def test_a_module_used_twice_is_equalized_once():
    """One module under two names has one constant and one hook."""
    layer = nn.Linear(4, 4)
    net = equalize_lr(nn.Sequential(layer, nn.ReLU(), layer))
    assert he_scales(net) == {"0.weight": 2**-0.5}
    remove_equalized_lr(net)
    assert type(layer) is nn.Linear


def test_packed_and_separate_attention():
    """Attention's own matrices share one bias, which is given back with the last of them."""
    layer = nn.MultiheadAttention(8, 2, kdim=4, vdim=4)
    for name in ("q_proj_weight", "k_proj_weight"):
        equalize_lr(layer, name, lr_mul=0.5)
    remove_equalized_lr(layer, "q_proj_weight")
    assert is_equalized(layer, "in_proj_bias")
    remove_equalized_lr(layer, "k_proj_weight")
    assert type(layer) is nn.MultiheadAttention


def test_optimizers_made_before_go_on():
    """An optimizer that was built before trains the same Parameter before, while and after."""
    net = nn.Linear(4, 4)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    x = torch.randn(8, 4)
    for verb in (lambda net: net, lambda net: equalize_lr(net, init="keep"), remove_equalized_lr):
        verb(net)
        before = net.weight.detach().clone()
        optimizer.zero_grad()
        net(x).square().sum().backward()
        optimizer.step()
        assert (net.weight.detach() - before).abs().min() > 0


def test_frozen_weights_stay_frozen():
    """requires_grad=False survives, and such a layer still computes."""
    layer = nn.Linear(4, 4).requires_grad_(False)
    equalize_lr(layer)
    assert not layer.weight_orig.requires_grad
    assert not layer.weight.requires_grad
    remove_equalized_lr(layer)
    assert not layer.weight.requires_grad


def test_gradients_that_wait_are_translated():
    """A gradient that is there when the form changes is c times as large in the stored form."""
    layer = nn.Linear(4, 2)
    layer(torch.randn(3, 4)).sum().backward()
    before = layer.weight.grad.clone()
    equalize_lr(layer, init="keep", gain=0.5)
    assert_equal(layer.weight_orig.grad, before / 4)
    remove_equalized_lr(layer)
    assert_equal(layer.weight.grad, before)


def test_hooks_of_the_user_stay_through_both_verbs():
    """Hooks on the module, and on the Parameter, go on working."""
    layer, calls = nn.Linear(4, 2), []
    layer.register_forward_hook(lambda *_: calls.append("forward"))
    layer.weight.register_hook(lambda gradient: calls.append("gradient"))
    for verb in (equalize_lr, remove_equalized_lr):
        verb(layer)
        layer(torch.randn(1, 4)).sum().backward()
    assert calls == ["forward", "gradient"] * 2


@pytest.mark.parametrize("verb", [equalize_lr, remove_equalized_lr, is_equalized, he_scales, fans])
def test_other_things_than_modules(verb):
    """A state_dict, a Parameter or a string is no module, and that is what the error says."""
    if verb is fans:
        assert fans("no layer") == {}
        return
    with pytest.raises(errors.NotAModule, match=r"torch\.nn\.Module, got dict"):
        verb({})


def test_wrapping_again_after_removal():
    """Equalize, remove, equalize, remove: each time as if it were the first."""
    net = network()
    snapshot = Snapshot(net)
    for _ in range(3):
        equalize_lr(net, init="keep", gain=2.0, where=lambda name, module: name == "6")
        assert is_equalized(net[6])
        remove_equalized_lr(net)
        snapshot.assert_unchanged()


def test_removal_by_name_leaves_the_rest():
    """Removing one weight of a layer with several leaves the others equalized."""
    layer = equalize_lr(nn.GRU(4, 4))
    remove_equalized_lr(layer, "weight_ih_l0")
    assert he_scales(layer, where=lambda *_: True).keys() == {"weight_ih_l0", "weight_hh_l0"}
    assert not is_equalized(layer, "weight_ih_l0")
    assert is_equalized(layer, "weight_hh_l0")
    assert layer(torch.randn(2, 1, 4))[0].shape == (2, 1, 4)


def test_importing_brings_in_nothing_heavy():
    """The compiler, sympy and torch.distributed's parts, which take seconds, are not imported."""
    heavy = "'torch._dynamo', 'torch._inductor', 'torch.distributed.fsdp', 'sympy'"
    code = f"import sys, equalized_lr; print([m for m in ({heavy}) if m in sys.modules])"
    plain = code.replace("equalized_lr", "torch")
    shown = [
        subprocess.run([sys.executable, "-c", c], capture_output=True, text=True, check=True).stdout
        for c in (code, plain)
    ]
    assert shown[0] == shown[1] == "[]\n"


def test_a_bias_alone_is_not_given_back_in_its_weights_place():
    """Removal by the name of a plain weight is an error, also if the layer's bias is equalized."""
    layer = equalize_lr(nn.Linear(3, 2), "bias", fan=4)
    with pytest.raises(errors.NotEqualized):
        remove_equalized_lr(layer, "weight")
    assert is_equalized(layer, "bias")


def test_a_named_fan_and_the_bias_that_goes_along():
    """A given fan is one in either mode, and the layer's own word on its bias still counts."""
    layer = equalize_lr(nn.Linear(3, 2), "weight", fan=64, mode="fan_out", gain=1)
    assert he_scales(layer) == {"weight": 0.125}
    attention = nn.MultiheadAttention(4, 2, kdim=3, vdim=3)
    equalize_lr(attention, "q_proj_weight", fan=4, lr_mul=0.5)
    assert "in_proj_bias_orig" in attention._parameters


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (remove_equalized_lr, "this Sequential is not equalized"),
        (lambda net: remove_equalized_lr(net[0], "bias"), "'bias' of this Linear is not equalized"),
        (lambda net: equalize_lr(net[0], "w"), "'w' is not a parameter of this Linear itself"),
        (lambda net: equalize_lr(net[0], "bias"), "how many connections 'bias' of Linear has"),
    ],
)
def test_refusals_name_what_was_given(call, text):
    """The parameter, and the kind of module."""
    with pytest.raises(errors.EqualizedLRError) as raised:
        call(nn.Sequential(nn.Linear(3, 2)))
    assert text in str(raised.value)


def test_what_was_derived_from_an_equalized_layer_is_named_where_it_is():
    """Removal says which layer of the tree it is, and what became of it."""
    net = nn.Sequential(nn.ReLU(), equalize_lr(nn.Linear(3, 2)))
    net[1].__class__ = type("Derived", (type(net[1]),), {})
    with pytest.raises(
        errors.WrappedOnTop, match=r"^'1\.weight' \(Derived\).*the class Derived, wh"
    ):
        remove_equalized_lr(net)
