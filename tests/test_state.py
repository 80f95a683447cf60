"""Values on their way in: assignment and state_dicts."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.parametrize import register_parametrization

from assertions import Snapshot, assert_equal, assert_ulps
from equalized_lr import equalize_lr, errors, he_scales, is_equalized, remove_equalized_lr

C = 0.5  # of nn.Linear(8, n)


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
    with pytest.raises(errors.TiedElsewhere, match="shared with an? Embedding"):
        layer.weight = embedding.weight
    other = equalize_lr(nn.Linear(8, 2))
    with pytest.raises(errors.NotAssignable):
        layer.weight = other.weight
    layer.weight_orig = other.weight_orig
    assert_equal(layer.weight, other.weight)


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
    with pytest.raises(errors.TiedAssignment, match=r"tied to a Embedding.*weight_orig"):
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
