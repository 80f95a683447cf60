"""Values on their way in: assignment and state_dicts."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrize import register_parametrization

from equalized_lr import (
    equalize_lr,
    errors,
    plain_state_dict,
)
from tests.support.assertions import assert_equal

C = 0.5  # of nn.Linear(8, n)


FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture
def layer():
    return equalize_lr(nn.Linear(8, 2))


def test_metadata_names_version_and_constants(layer):
    """The state_dict's metadata, which torch.save keeps, holds a version and each c."""
    metadata = nn.Sequential(layer).state_dict()._metadata["0"]
    assert metadata["equalized_lr"] == {"version": 1, "scales": {"weight": C}}
    assert "equalized_lr" not in nn.Linear(8, 2).state_dict()._metadata[""]


def test_a_parent_that_asks_its_layer_itself(layer):
    """It finds version and constants at the layer's path, as after `state_dict`."""
    state = nn.Identity().state_dict()
    layer._save_to_state_dict(state, "deep.inside.", False)
    assert set(state) == {"deep.inside.weight_orig", "deep.inside.bias"}
    assert state._metadata["deep.inside"]["equalized_lr"]["version"] == 1


@pytest.mark.filterwarnings("ignore:Positional args are being deprecated:FutureWarning")
@pytest.mark.parametrize("keep_vars", [False, True])
@pytest.mark.parametrize("how", ["by place", "by name"])
def test_stored_values_come_back_behind_own_hooks(layer, how, keep_vars):
    """A layer's own hook sees the effective weight, at any depth, and the stored one is saved."""
    shown, empty = [], nn.Identity().state_dict()
    layer._register_state_dict_hook(lambda _, state, at, __: shown.append(state[f"{at}weight"]))
    if how == "by place":
        state = layer.state_dict(empty, "deep.inside.", keep_vars)
    else:
        state = layer.state_dict(destination=empty, prefix="deep.inside.", keep_vars=keep_vars)
    assert_equal(shown[0], layer.weight)
    assert list(state) == ["deep.inside.weight_orig", "deep.inside.bias"]
    assert (state["deep.inside.weight_orig"] is layer.weight_orig) == keep_vars
    assert state["deep.inside.weight_orig"].requires_grad == keep_vars
    assert set(state._metadata["deep.inside"]) == {"version", "equalized_lr"}


class Nothing(nn.Module):
    """Has an extra state, but nothing in it."""

    def get_extra_state(self):
        return None


def test_own_hooks_beside_an_entry_of_none(layer):
    """What others save is left as it is, None as well."""
    layer._register_state_dict_hook(lambda *_: None)
    state = nn.Sequential(Nothing(), layer).state_dict()
    assert list(state) == ["0._extra_state", "1.weight_orig", "1.bias"]
    assert state["0._extra_state"] is None


def test_a_destination_without_metadata_is_fine(layer):
    """`state_dict(destination={})`, a plain dict, gets the stored values."""
    assert set(layer.state_dict(destination={})) == {"weight_orig", "bias"}


def both(gain=None, **more):
    """A layer with its own constants, filled with normal values."""
    layer = equalize_lr(nn.Linear(8, 2), **({} if gain is None else {"gain": gain}), **more)
    nn.init.normal_(layer.weight_orig)
    return layer


def test_a_module_on_the_meta_device():
    """Without memory of its own it takes plain tensors by assignment."""
    plain = nn.Linear(8, 2)
    with torch.device("meta"):
        ghost = nn.Linear(8, 2)
    equalize_lr(ghost).load_state_dict(plain.state_dict(), assign=True)
    assert_equal(ghost.weight, plain.weight)


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


def test_keeping_parameters(layer):
    """`state_dict(keep_vars=True)` has the stored Parameter itself."""
    assert layer.state_dict(keep_vars=True)["weight_orig"] is layer.weight_orig
    assert not layer.state_dict()["weight_orig"].requires_grad


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
