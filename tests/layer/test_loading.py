"""What an equalized layer loads, and what it refuses."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from equalized_lr import (
    equalize_lr,
    he_scales,
)
from tests.support.assertions import assert_equal, assert_ulps

C = 0.5  # of nn.Linear(8, n)


FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture
def layer():
    return equalize_lr(nn.Linear(8, 2))


@pytest.mark.parametrize("strict", [True, False])
def test_a_weight_given_twice_is_an_error(layer, strict):
    """A state_dict with both forms of one weight is refused, naming both keys."""
    net, before = nn.Sequential(layer), layer.weight_orig.clone()
    state = nn.Sequential(both()).state_dict() | {"0.weight": torch.ones(2, 8)}
    with pytest.raises(RuntimeError, match=r"both '0\.weight' \(effective\) and '0\.weight_orig'"):
        net.load_state_dict(state, strict=strict)
    assert_equal(layer.weight_orig, before)


def test_strict_loading_stays_strict(layer):
    """Missing and unexpected keys are reported as by torch, and a bad shape, too."""
    state = layer.state_dict()
    with pytest.raises(RuntimeError, match='Missing key.*"weight_orig"'):
        layer.load_state_dict({"bias": state["bias"]})
    with pytest.raises(RuntimeError, match='Unexpected key.*"extra"'):
        layer.load_state_dict(state | {"extra": torch.ones(1)})
    with pytest.raises(RuntimeError, match="size mismatch"):
        layer.load_state_dict(state | {"weight_orig": torch.ones(1, 1)})
    deeper = equalize_lr(nn.LSTM(3, 3, num_layers=2)).state_dict()
    with pytest.raises(RuntimeError, match='Unexpected key.*"weight_ih_l1"'):
        equalize_lr(nn.LSTM(3, 3)).load_state_dict(deeper)


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("prefix", ["", "deep.inside."])
def test_plain_checkpoints_load_at_any_depth(assign, prefix):
    """Effective weights under plain names, nested or not, copied or assigned."""
    plain = nn.Linear(8, 2)
    net = equalize_lr(nn.Linear(8, 2))
    for name in reversed(prefix.split(".")[:-1]):
        net = nn.ModuleDict({name: net})
    state = {prefix + key: value for key, value in plain.state_dict().items()}
    net.load_state_dict(state, assign=assign)
    assert list(state) == [prefix + "weight", prefix + "bias"]
    assert_equal(net.get_submodule(prefix[:-1]).weight, plain.weight)


def test_saved_constants_that_are_not_scaled_here():
    """A checkpoint with scaled biases loads where biases are plain, and the other way round."""
    scaled = equalize_lr(nn.Linear(8, 2), lr_mul=0.5)
    plain = equalize_lr(nn.Linear(8, 2))
    nn.init.normal_(scaled.bias_orig)
    plain.load_state_dict(scaled.state_dict())
    assert_equal(plain.bias, scaled.bias)
    nn.init.normal_(plain.bias)
    scaled.load_state_dict(plain.state_dict())
    assert_equal(plain.bias, scaled.bias)


def test_tied_checkpoints():
    """A tied pair loads its plain checkpoint, in which the weight stands twice."""
    net = nn.ModuleDict({"embed": nn.Embedding(5, 8), "head": nn.Linear(8, 5, bias=False)})
    net.head.weight = net.embed.weight
    state = {key: value.clone() for key, value in net.state_dict().items()}
    equalize_lr(net).load_state_dict(state)
    assert_equal(net.embed.weight, state["embed.weight"])
    assert he_scales(net) == {"embed.weight": C, "head.weight": C}


def both(gain=None, **more):
    """A layer with its own constants, filled with normal values."""
    layer = equalize_lr(nn.Linear(8, 2), **({} if gain is None else {"gain": gain}), **more)
    nn.init.normal_(layer.weight_orig)
    return layer


def test_missing_keys(layer):
    """A strict error names the key that is missing; without strict nothing changes."""
    net = nn.Sequential(layer)
    before = layer.weight_orig.clone()
    with pytest.raises(RuntimeError, match=r'Missing key.*"0\.weight_orig"'):
        net.load_state_dict({"0.bias": torch.ones(2)})
    assert net.load_state_dict({"0.bias": torch.ones(2)}, strict=False) == (["0.weight_orig"], [])
    assert_equal(layer.weight_orig, before)
    assert_equal(layer.bias, torch.ones(2))


@pytest.mark.parametrize("assign", [False, True])
def test_mixtures_of_plain_and_own_keys(assign):
    """One layer by its plain key, another by its own key under another gain, a third left out."""
    net = nn.Sequential(*(both() for _ in range(3)))
    plain, own, kept = nn.Linear(8, 2), both(gain=3.0), net[2].weight.clone()
    state = nn.Sequential(nn.Linear(8, 2), own, nn.Linear(8, 2)).state_dict()
    state |= {f"0.{key}": value for key, value in plain.state_dict().items()}
    del state["2.weight"], state["2.bias"]
    missing, unexpected = net.load_state_dict(state, strict=False, assign=assign)
    assert (missing, unexpected) == (["2.weight_orig", "2.bias"], [])
    assert_equal(net[0].weight, plain.weight)
    assert_ulps(net[1].weight, own.weight, 2)
    assert_equal(net[2].weight, kept)


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("keep_vars", [False, True])
def test_what_is_loaded_is_a_leaf(assign, keep_vars):
    """Converted values carry no graph, and requires_grad stays as it was."""
    layer, other = both(), both(gain=3.0)
    layer.load_state_dict(other.state_dict(keep_vars=keep_vars), assign=assign)
    assert layer.weight_orig.is_leaf
    assert layer.weight_orig.requires_grad
    assert_ulps(layer.weight, other.weight, 2)
    other.weight_orig.data.zero_()
    assert layer.weight.abs().sum() > 0


def test_half_precision_checkpoints_are_rounded_once():
    """A float16 checkpoint in a float32 layer is divided in float32, as exact as that can be."""
    plain = nn.Linear(7, 2).half()
    layer = equalize_lr(nn.Linear(7, 2))
    layer.load_state_dict(plain.state_dict())
    assert_ulps(layer.weight, plain.weight.float(), 2)


def test_values_that_do_not_fit_are_refused():
    """A stored weight that float16 cannot hold is an error, not an infinity."""
    layer = equalize_lr(nn.Linear(8, 2).half(), gain=0.001)
    before = layer.weight_orig.clone()
    with pytest.raises(RuntimeError, match=r"'weight' divided by c .* does not fit into torch.fl"):
        layer.load_state_dict({"weight": torch.full((2, 8), 60.0), "bias": torch.ones(2)})
    assert_equal(layer.weight_orig, before)


@pytest.mark.parametrize("version", [2, 0])
@pytest.mark.parametrize("is_inside", [False, True])
def test_unknown_formats_are_refused(layer, version, is_inside):
    """A state_dict that a later version of this library wrote is not read by its old meaning."""
    net, other = (nn.ModuleDict({"in": one}) if is_inside else one for one in (layer, both()))
    path, where = ("in", "'in'") if is_inside else ("", "this Linear")
    state, before = other.state_dict(), layer.weight_orig.clone()
    state._metadata[path]["equalized_lr"] = {"version": version}
    text = f"state_dict of {where} has format {version}, and this .* up to 1"
    with pytest.raises(RuntimeError, match=text):
        net.load_state_dict(state)
    assert_equal(layer.weight_orig, before)


class CommonHook(nn.Module):
    """What other code bases leave in a file: `weight_orig`, and no word of a constant."""

    def __init__(self):
        super().__init__()
        self.weight_orig = nn.Parameter(torch.randn(2, 8))
        self.bias = nn.Parameter(torch.zeros(2))


def test_stored_weights_of_other_code_are_refused(layer):
    """`weight_orig`, signed by a module that is none of ours, may be in units of any constant."""
    with pytest.raises(RuntimeError, match=r"'weight_orig' was saved by a module that is not equ"):
        layer.load_state_dict(CommonHook().state_dict())
    pruned = prune.identity(nn.Linear(8, 2), "weight")
    with pytest.raises(RuntimeError, match="not equalized by this library"):
        layer.load_state_dict(pruned.state_dict())


def test_odd_values_are_left_to_torch(layer):
    """What is no tensor is reported by torch, under the name that the layer has for it."""
    with pytest.raises(RuntimeError, match='"weight_orig", expected torch.Tensor'):
        layer.load_state_dict({"weight": [1.0], "bias": torch.ones(2)})


def version_1(seed=0):
    """The model of tests/fixtures/version_1.pt, with other numbers and other constants."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 2), nn.LSTM(2, 2))
    equalize_lr(net[2], gain=1.0 + seed, lr_mul=0.5)
    return equalize_lr(net, mode="fan_in" if seed else "fan_out")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_checkpoint_of_another_dtype_is_rounded_once(dtype):
    """It is divided in the wider of both dtypes, and cannot overflow in the narrower one."""
    layer = equalize_lr(nn.Linear(7, 3), lr_mul=0.001)
    state = {key: 100 * value.to(dtype) for key, value in nn.Linear(7, 3).state_dict().items()}
    layer.load_state_dict(state)
    assert_ulps(layer.weight, state["weight"].float(), 2)


@pytest.mark.parametrize("assign", [False, True])
def test_a_checkpoint_that_does_not_fit_is_an_error(assign):
    """In half precision, copied or assigned."""
    layer = equalize_lr(nn.Linear(8, 2), lr_mul=2.0**-10)
    state = nn.Linear(8, 2).half().state_dict()
    state["weight"].fill_(100.0)
    if not assign:
        layer.half()
    with pytest.raises(RuntimeError, match="'weight' divided by c .* does not fit into"):
        layer.load_state_dict(state, assign=assign)


def test_a_scaled_bias_for_a_plain_one_in_double_precision():
    """What was stored in single precision is multiplied in that of the layer."""
    saved = equalize_lr(nn.Linear(8, 2), lr_mul=0.1)
    nn.init.normal_(saved.bias_orig)
    layer = equalize_lr(nn.Linear(8, 2).double())
    layer.load_state_dict(saved.state_dict())
    assert_ulps(layer.bias, saved.bias_orig.double() * 0.1, 1)


def test_the_error_of_foreign_weights_names_both_keys(layer):
    """The stored one, and the plain one that would be right."""
    with pytest.raises(RuntimeError, match="'weight_orig'.*'weight'"):
        layer.load_state_dict(CommonHook().state_dict())


def test_a_plain_checkpoint_of_some_weights_only():
    """A weight that is missing does not keep those that follow it from being converted."""
    plain, layer = nn.LSTM(8, 4), equalize_lr(nn.LSTM(8, 4))
    state = plain.state_dict()
    del state["weight_ih_l0"]
    assert layer.load_state_dict(state, strict=False).missing_keys == ["weight_ih_l0_orig"]
    assert_ulps(layer.weight_hh_l0, plain.weight_hh_l0, 1)


def test_eight_bit_checkpoints(layer):
    """What has eight bits is divided in more; a layer of eight bits could not multiply by c."""
    effective = torch.linspace(-2, 2, 16).view(2, 8).to(torch.float8_e4m3fn)
    state = {"weight": effective, "bias": torch.zeros(2)}
    layer.load_state_dict(state)
    assert_equal(layer.weight_orig.detach(), effective.float() / C)
    with pytest.raises(RuntimeError, match="'weight' is a Tensor that cannot be divided by c"):
        layer.load_state_dict(state, assign=True)


class Sealed(torch.Tensor):
    """A tensor that lets nobody compute with it."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func in (torch.Tensor.div, torch.Tensor.__truediv__):
            raise TypeError("sealed")
        return super().__torch_function__(func, types, args, kwargs)


def test_values_that_cannot_be_divided_are_refused(layer):
    """The error names the entry and the kind of tensor; the layer keeps its weight."""
    before = layer.weight.detach().clone()
    state = {"weight": torch.ones(2, 8).as_subclass(Sealed), "bias": torch.zeros(2)}
    with pytest.raises(RuntimeError, match="'weight' is a Sealed that cannot be divided by c"):
        layer.load_state_dict(state)
    assert_equal(layer.weight.detach(), before)
