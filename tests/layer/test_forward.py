"""Forwards that read each parameter once, and when they go the general way instead."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from equalized_lr import equalize_lr
from equalized_lr.errors import HookLost
from equalized_lr.layer import writes
from equalized_lr.layer.caching import current_cache
from equalized_lr.layer.hook import KEY, hook_of
from tests.support.strategies import CONVOLUTIONS

KINDS = ["Linear", *CONVOLUTIONS]


def layer_and_input(kind):
    """A layer each of whose settings matters, and an input for it."""
    if kind == "Linear":
        return nn.Linear(4, 6), torch.randn(2, 4)
    more = {"output_padding": 1} if "Transpose" in kind else {}
    layer = getattr(nn, kind)(4, 6, 3, stride=3, padding=2, dilation=4, groups=2, **more)
    return layer, torch.randn(1, 4, *[9] * int(kind[-2]))


@pytest.mark.parametrize("lr_mul", [1.0, 0.5])
@pytest.mark.parametrize("kind", KINDS)
def test_layers_that_read_once(kind, lr_mul):
    """Note [Layers that read once]: no parameter is computed twice, kept or remembered."""
    layer, x = layer_and_input(kind)
    hook = hook_of(equalize_lr(layer, lr_mul=lr_mul))
    hook.scales = Counting(hook.scales)
    out = layer(x.requires_grad_())  # whose graph holds the weight
    assert hook.scales.reads == len(hook.scales)
    assert not writes.remembered
    out.sum().backward()


class Counting(dict):
    """Constants that count how often they are asked for, outside of any cache."""

    reads = 0

    def __getitem__(self, name):
        assert current_cache() is None
        self.reads += 1
        return super().__getitem__(name)


@pytest.mark.parametrize("lr_mul", [1.0, 0.5])
@pytest.mark.parametrize("kind", KINDS)
def test_the_operation_is_that_of_the_layer(kind, lr_mul):
    """What is read once goes into the very operation that the layer's own forward has."""
    layer, x = layer_and_input(kind)
    equalize_lr(layer, lr_mul=lr_mul, init="keep")
    assert torch.equal(layer(x), type(layer)._plain_class.forward(layer, x))


@pytest.mark.parametrize("how", ["by place", "by name"])
def test_an_output_size_goes_the_general_way(how):
    """A transposed convolution that is asked for a size has it, and all its own checks."""
    layer, x = equalize_lr(nn.ConvTranspose1d(2, 3, 3, stride=2)), torch.randn(1, 2, 4)
    size = ([10],) if how == "by place" else ()
    named = {"output_size": [10]} if how == "by name" else {}
    assert layer(x, *size, **named).shape == (1, 3, 10)
    with pytest.raises(ValueError, match="requested an output size"):
        layer(x, [99])


def test_other_arguments_are_refused_as_by_the_layer():
    """The input may be named, and nothing else is taken."""
    layer, x = equalize_lr(nn.Linear(3, 2)), torch.randn(1, 3)
    assert torch.equal(layer(input=x), layer(x))
    with pytest.raises(TypeError, match="forward"):
        layer(x, x)
    with pytest.raises(TypeError, match="other"):
        layer(x, other=x)


class Tripled(nn.Conv2d):
    """A convolution with a step of its own."""

    def _conv_forward(self, x, weight, bias):
        return 3 * super()._conv_forward(x, self.weight, bias)


class Padded(nn.ConvTranspose1d):
    """A transposed convolution that chooses its output's size."""

    def _output_padding(self, *args):
        return [1]


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: Tripled(2, 3, 1), (1, 2, 4, 4)),
        (lambda: Padded(2, 3, 3, stride=2), (1, 2, 4)),
    ],
    ids=["convolution", "transposed"],
)
def test_steps_of_a_subclass_are_kept(make, shape):
    """A subclass that changes what torch's forward calls is called as it is."""
    layer, x = make(), torch.randn(shape)
    expected = layer(x)
    torch.testing.assert_close(equalize_lr(layer, init="keep")(x), expected)


def test_a_bias_that_is_computed_is_read():
    """A bias under another reparametrization is no Parameter, and counts all the same."""
    layer, x = equalize_lr(nn.Linear(3, 2)), torch.randn(1, 3)
    nn.utils.parametrize.register_parametrization(layer, "bias", nn.Sigmoid())
    torch.testing.assert_close(layer(x), x @ layer.weight.T + layer.bias)


def test_a_stored_weight_that_is_computed_is_read():
    """So does a stored weight under torch's parametrize."""
    layer, x = equalize_lr(nn.Linear(3, 2)), torch.randn(1, 3)
    spectral_norm(layer, "weight_orig")
    layer.eval()
    torch.testing.assert_close(layer(x), nn.functional.linear(x, layer.weight, layer.bias))


def test_a_lost_hook_is_named():
    """Without its hook a layer has no scale, and says so."""
    layer = equalize_lr(nn.Linear(3, 2))
    del layer._forward_pre_hooks[KEY]
    with pytest.raises(HookLost):
        layer(torch.randn(1, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_a_forward_that_was_replaced_later_runs(kind, monkeypatch):
    """Code that patches torch's classes after equalizing is heard."""
    owner = getattr(nn, kind)
    layer = equalize_lr(owner(2, 3, *(() if owner is nn.Linear else (1,))))
    monkeypatch.setattr(owner, "forward", lambda self, x: "replaced")
    assert layer(torch.randn(1, 2)) == "replaced"


@pytest.mark.parametrize("kind", ["Linear", *CONVOLUTIONS])
def test_an_operation_that_was_replaced_later_runs(kind, monkeypatch):
    """Code that patches torch.nn.functional, as profilers do, is heard."""
    layer = equalize_lr(getattr(nn, kind)(2, 3, *(() if kind == "Linear" else (1,))))
    name = kind.lower().replace("transpose", "_transpose")
    monkeypatch.setattr(nn.functional, name, lambda *args: "replaced")
    assert layer(torch.randn(1, 2, 1, 1, 1)) == "replaced"


def test_an_attribute_in_the_place_of_a_bias_is_read():
    """What stands before a Parameter in torch stands before it here."""
    layer, x = equalize_lr(nn.Linear(3, 2)), torch.randn(1, 3)
    vars(layer)["bias"] = torch.ones(2)
    torch.testing.assert_close(layer(x), x @ layer.weight.T + 1)


def test_a_weight_of_a_class_on_top_is_read():
    """Somebody else's class may compute the weight on."""
    layer, x = equalize_lr(nn.Linear(3, 2)), torch.randn(1, 3)
    own = layer.weight.detach()
    layer.__class__ = type("Doubled", (type(layer),), {"weight": property(lambda _: 2 * own)})
    torch.testing.assert_close(layer(x), x @ (2 * own).T + layer.bias)


def test_a_padding_that_transposed_convolutions_have_not():
    """torch refuses it in each forward, since it can be set at any time."""
    layer = equalize_lr(nn.ConvTranspose1d(2, 3, 3))
    layer.padding_mode = "circular"
    with pytest.raises(ValueError, match="padding mode"):
        layer(torch.randn(1, 2, 4))
