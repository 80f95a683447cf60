"""Values on their way in: assignment and state_dicts."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.parametrize import register_parametrization

from equalized_lr import (
    equalize_lr,
    errors,
    he_scales,
    is_equalized,
    plain_state_dict,
    remove_equalized_lr,
)
from tests.support.assertions import Snapshot, assert_equal, assert_ulps

C = 0.5  # of nn.Linear(8, n)
FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture
def layer():
    return equalize_lr(nn.Linear(8, 2))


def test_a_parameter_assigned_is_the_effective_weight(layer):
    """`layer.weight = Parameter(W)` stores W / c in the same stored Parameter."""
    raw, wanted = layer.weight_orig, torch.randn(2, 8)
    layer.weight = nn.Parameter(wanted)
    assert layer.weight_orig is raw
    assert_equal(layer.weight, wanted)
    assert_equal(layer.weight_orig, wanted / C)
    layer.register_parameter("weight", nn.Parameter(2 * wanted))
    assert_equal(layer.weight, 2 * wanted)


def test_assignment_takes_shape_dtype_and_requires_grad_along(layer):
    """A Parameter of another shape, dtype or requires_grad is taken as it is."""
    raw = layer.weight_orig
    layer.weight = nn.Parameter(torch.ones(3, 8, dtype=torch.float64), requires_grad=False)
    assert layer.weight_orig is raw
    assert_equal(layer.weight, torch.ones(3, 8, dtype=torch.float64))
    assert not layer.weight.requires_grad


@pytest.mark.parametrize("value", [torch.ones(2, 8), None, 3.0])
def test_anything_else_cannot_be_assigned(layer, value):
    """A plain tensor, None or a number for the weight is an error, and nothing changes."""
    snapshot = Snapshot(layer)
    with pytest.raises(errors.NotAssignable, match="c \\* weight_orig"):
        layer.weight = value
    snapshot.assert_unchanged()


def test_a_weight_cannot_be_deleted_or_unregistered(layer):
    """`del layer.weight` and register_parameter("weight", None) are errors as well."""
    with pytest.raises(errors.NotAssignable):
        del layer.weight
    with pytest.raises(errors.NotAssignable):
        layer.register_parameter("weight", None)
    assert is_equalized(layer, "weight")


def test_a_parameter_of_another_module_is_not_untied_silently(layer):
    """Assigning an embedding's weight would copy it, where a tie was meant: that is an error."""
    embedding = nn.Embedding(2, 8)
    with pytest.raises(
        errors.TiedElsewhere, match=r"^'weight' \(Linear\) .*shared with an? Embedding"
    ):
        layer.weight = embedding.weight
    other = equalize_lr(nn.Linear(8, 2))
    layer.weight_orig = other.weight_orig
    assert_equal(layer.weight, other.weight)


@pytest.mark.parametrize(
    "put",
    [
        lambda weight: setattr(nn.Linear(4, 2), "weight", weight),
        lambda weight: setattr(nn.Module(), "own", weight),
        lambda weight: nn.ParameterList([weight]),
    ],
    ids=["plain layer", "new name", "list"],
)
def test_a_frozen_weight_does_not_become_a_parameter_of_another_module(layer, put):
    """It would be a copy, which silently goes out of date; the stored Parameter is a tie."""
    layer.requires_grad_(requires_grad=False)
    with pytest.raises(errors.NotAParameter, match="would not follow"):
        put(layer.weight)
    put(layer.weight_orig)


def test_pruning_a_frozen_weight_by_its_plain_name_changes_nothing(layer):
    """torch's prune registers what it reads as `weight_orig`, which would scale it twice."""
    layer.requires_grad_(requires_grad=False)
    before = layer.weight.clone()
    with pytest.raises(errors.NotAParameter):
        nn.utils.prune.l1_unstructured(layer, "weight", 2)
    assert_equal(layer.weight, before)


def test_the_weight_of_another_equalized_layer_is_a_tie(layer):
    """`a.weight = b.weight` ties the stored parameters where c is the same, or is refused."""
    other, third = equalize_lr(nn.Linear(8, 2)), equalize_lr(nn.Linear(8, 2), gain=1.0)
    layer.weight = other.weight
    assert layer.weight_orig is other.weight_orig
    layer.weight = other.weight  # again, as tie_weights() does
    assert layer.weight_orig is other.weight_orig
    with pytest.raises(errors.NotAssignable, match="a weight with c = 0.353553"):
        layer.weight = third.weight
    assert layer.weight_orig is other.weight_orig


def test_other_parameters_are_assigned_as_ever(layer):
    """The bias, new parameters and the stored weight itself are set as in any module."""
    layer.bias = nn.Parameter(torch.ones(2))
    layer.extra = nn.Parameter(torch.ones(1))
    layer.weight_orig = nn.Parameter(torch.ones(2, 8))
    assert list(dict(layer.named_parameters())) == ["weight_orig", "bias", "extra"]
    assert_equal(layer.weight, torch.full((2, 8), C))


def test_a_weight_given_twice_is_an_error(layer):
    """A state_dict with both forms of one weight is refused, naming both keys."""
    net = nn.Sequential(layer)
    state = net.state_dict() | {"0.weight": torch.ones(2, 8)}
    with pytest.raises(RuntimeError, match=r"both '0\.weight' \(effective\) and '0\.weight_orig'"):
        net.load_state_dict(state)


def test_strict_loading_stays_strict(layer):
    """Missing and unexpected keys are reported as by torch, and a bad shape, too."""
    state = layer.state_dict()
    with pytest.raises(RuntimeError, match='Missing key.*"weight_orig"'):
        layer.load_state_dict({"bias": state["bias"]})
    with pytest.raises(RuntimeError, match='Unexpected key.*"extra"'):
        layer.load_state_dict(state | {"extra": torch.ones(1)})
    with pytest.raises(RuntimeError, match="size mismatch"):
        layer.load_state_dict(state | {"weight_orig": torch.ones(1, 1)})


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


def test_metadata_names_version_and_constants(layer):
    """The state_dict's metadata, which torch.save keeps, holds a version and each c."""
    metadata = nn.Sequential(layer).state_dict()._metadata["0"]
    assert metadata["equalized_lr"] == {"version": 1, "scales": {"weight": C}}
    assert "equalized_lr" not in nn.Linear(8, 2).state_dict()._metadata[""]


def test_a_destination_without_metadata_is_fine(layer):
    """`state_dict(destination={})`, a plain dict, gets the stored values."""
    assert set(layer.state_dict(destination={})) == {"weight_orig", "bias"}


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


def test_a_module_on_the_meta_device():
    """Without memory of its own it takes plain tensors by assignment."""
    plain = nn.Linear(8, 2)
    with torch.device("meta"):
        ghost = nn.Linear(8, 2)
    equalize_lr(ghost).load_state_dict(plain.state_dict(), assign=True)
    assert_equal(ghost.weight, plain.weight)


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
def test_unknown_formats_are_refused(layer, version):
    """A state_dict that a later version of this library wrote is not read by its old meaning."""
    state = nn.Sequential(both()).state_dict()
    state._metadata["0"]["equalized_lr"]["version"] = version
    before = layer.weight_orig.clone()
    with pytest.raises(RuntimeError, match=f"state_dict of '0' has format {version}, and this"):
        nn.Sequential(layer).load_state_dict(state)
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


def test_stored_weights_without_any_metadata_are_our_own(layer):
    """A plain dict, as safetensors give it, says nothing: its numbers are in this layer's units."""
    other = both()
    layer.load_state_dict(dict(other.state_dict()))
    assert_equal(layer.weight_orig, other.weight_orig)


def test_ties_by_assignment_are_as_in_a_plain_model():
    """assign=True breaks ties in torch's models, and in equalized ones, too."""
    twins = []
    for equalize in (False, True):
        net = nn.ModuleDict({"embed": nn.Embedding(5, 8), "head": nn.Linear(8, 5, bias=False)})
        net.head.weight = net.embed.weight
        twins.append(equalize_lr(net) if equalize else net)
    state = {"embed.weight": torch.randn(5, 8), "head.weight": torch.randn(5, 8)}
    for net in twins:
        net.load_state_dict(state, assign=True)
        assert_equal(net.embed.weight, state["embed.weight"])
        assert_equal(net.head.weight, state["head.weight"])


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


def test_files_of_version_1_load_for_ever():
    """The committed file gives the outputs committed with it, whatever constants are in force.

    It was written, once, by the first version of this format, at the root of this project:

        python -c "import tests.layer.test_state_dict as t; t.write_1()"
    """
    file = torch.load(FIXTURES / "version_1.pt", weights_only=True)
    for seed in (0, 3):
        net = version_1(seed)
        net.load_state_dict(file["state_dict"])
        torch.testing.assert_close(net[:3](file["input"]), file["output"])
        torch.testing.assert_close(net[3](file["output"])[0], file["recurrent"])
    assert file["state_dict"]._metadata["0"]["equalized_lr"]["version"] == 1


def write_1():
    """Writes the fixture; kept as the record of how it was made."""
    net, inputs = version_1(), torch.randn(1, 2, 4, 4)
    for bias in (net[0].bias, net[2].bias_orig):
        nn.init.normal_(bias)
    output = net[:3](inputs).detach()
    recurrent = net[3](output)[0].detach()
    file = {"state_dict": net.state_dict(), "input": inputs, "output": output}
    torch.save(file | {"recurrent": recurrent}, FIXTURES / "version_1.pt")


@pytest.mark.parametrize("put", ["parametrization", "mask"])
def test_assignment_below_another_reparametrization_is_refused(layer, put):
    """The stored values are then another's, and what is written into them would be lost."""
    if put == "mask":
        prune.l1_unstructured(layer, "weight_orig", 0.5)
    else:
        register_parametrization(layer, "weight_orig", nn.Identity())
    with pytest.raises(errors.WrappedOnTop, match="'weight_orig'"):
        layer.weight = nn.Parameter(torch.ones(2, 8))


def test_assigning_to_one_end_of_a_tie_is_refused():
    """torch would untie the two; writing through would change both without a word."""
    embed, head = nn.Embedding(5, 8), nn.Linear(8, 5, bias=False)
    head.weight = embed.weight
    net = equalize_lr(nn.ModuleList([embed, head]))
    before = Snapshot(net)
    with pytest.raises(
        errors.TiedAssignment, match=r"^'weight' \(Linear\).*tied to an Embedding.*weight_orig"
    ):
        head.weight = nn.Parameter(torch.ones(5, 8))
    before.assert_unchanged()
    head.weight_orig = nn.Parameter(torch.ones(5, 8) / C)  # the way out that the text names
    assert_equal(head.weight, torch.ones(5, 8))
    assert embed.weight_orig is not head.weight_orig


def test_assigned_values_that_do_not_fit(layer):
    """Values whose quotient is infinite in their dtype are refused; infinite ones are as given."""
    equalize_lr(remove_equalized_lr(layer), lr_mul=2.0**-10)
    before = Snapshot(layer)
    with pytest.raises(errors.Unscalable, match="float16"):
        layer.weight = nn.Parameter(torch.full((2, 8), 100.0).half())
    before.assert_unchanged()
    layer.weight = nn.Parameter(torch.full((2, 8), torch.inf).half())
    assert layer.weight.isinf().all()


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


def test_an_assigned_parameter_brings_its_gradient(layer):
    """The gradient of the values of before does not wait for the next step."""
    layer(torch.randn(1, 8)).sum().backward()
    layer.weight = nn.Parameter(torch.ones(2, 8))
    assert layer.weight_orig.grad is None
    given = nn.Parameter(torch.ones(2, 8))
    given.grad = torch.ones(2, 8)
    layer.weight = given
    assert_equal(layer.weight_orig.grad, C * torch.ones(2, 8))


def test_keeping_parameters(layer):
    """`state_dict(keep_vars=True)` has the stored Parameter itself."""
    assert layer.state_dict(keep_vars=True)["weight_orig"] is layer.weight_orig
    assert not layer.state_dict()["weight_orig"].requires_grad


def test_a_scaled_bias_for_a_plain_one_in_double_precision():
    """What was stored in single precision is multiplied in that of the layer."""
    saved = equalize_lr(nn.Linear(8, 2), lr_mul=0.1)
    nn.init.normal_(saved.bias_orig)
    layer = equalize_lr(nn.Linear(8, 2).double())
    layer.load_state_dict(saved.state_dict())
    assert_ulps(layer.bias, saved.bias_orig.double() * 0.1, 1)


def test_refusals_name_the_place(layer):
    """Of what was assigned, and of what was saved below another reparametrization."""
    with pytest.raises(errors.NotAssignable, match="'weight'.* None"):
        layer.register_parameter("weight", None)
    half = equalize_lr(nn.Linear(8, 2).half())
    with pytest.raises(errors.Unscalable, match=r"'weight' \(Linear\)"):
        half.weight = nn.Parameter(torch.full((2, 8), 60000.0).half())
    register_parametrization(layer, "weight_orig", nn.Identity())
    with pytest.raises(errors.WrappedOnTop, match=r"^'weight' of this \w*Linear"):
        plain_state_dict(layer)


def test_the_error_of_foreign_weights_names_both_keys(layer):
    """The stored one, and the plain one that would be right."""
    with pytest.raises(RuntimeError, match="'weight_orig'.*'weight'"):
        layer.load_state_dict(CommonHook().state_dict())
