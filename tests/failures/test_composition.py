"""Other reparametrizations below, above and beside."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm
from torch.nn.utils.parametrizations import weight_norm

from equalized_lr import errors
from tests.support.assertions import Snapshot
from tests.support.mechanisms import EQUALIZED, close, common_hook, net, x


class Negative(nn.Module):
    """A parametrization."""

    def forward(self, weight):
        return -weight

    def right_inverse(self, weight):
        return -weight


ON_TOP = {
    "prune": lambda layer: prune.random_unstructured(layer, "weight", 0.5),
    "spectral_norm": spectral_norm,
    "parametrized spectral_norm": parametrizations.spectral_norm,
    "weight_norm": weight_norm,
}


@pytest.mark.parametrize("put", ON_TOP.values(), ids=ON_TOP)
def test_on_top_of_the_weight_is_refused(put):
    """torch finds no Parameter `weight` and says so; the layer goes on as it was."""
    model, plain = EQUALIZED.twins(nn.Linear(6, 3))
    with pytest.raises((KeyError, ValueError, AttributeError, TypeError, RuntimeError)):
        put(model)
    EQUALIZED.assert_alike(model, plain, x())


@pytest.mark.parametrize("put", ON_TOP.values(), ids=ON_TOP)
def test_over_another_is_refused(put):
    """A layer whose weight is another's is not passed over in silence, and is left as it was."""
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 3)).double()
    put(model[1])
    before = Snapshot(model)
    with pytest.raises(errors.OwnedWeight, match="Remove that first"):
        EQUALIZED.wrap(model)
    before.assert_unchanged()


@common_hook("holds")
def test_a_parametrized_raw_weight(mechanism):
    """A parametrization of the stored weight works in both directions."""
    model, plain = mechanism.twins(nn.Linear(6, 3))
    parametrize.register_parametrization(model, "weight_orig", Negative())
    with torch.no_grad():
        close(model(x()), nn.functional.linear(x(), plain.weight, plain.bias))
    parametrize.remove_parametrizations(model, "weight_orig")
    mechanism.assert_alike(model, plain, x())


@pytest.mark.parametrize("put", [spectral_norm, weight_norm])
@common_hook("silent")
def test_over_another_is_not_passed_over(mechanism, put):
    """Whoever wraps a layer that has another reparametrization learns that it did not happen."""
    layer = put(nn.Linear(6, 3))
    try:
        mechanism.wrap(layer)
    except errors.OwnedWeight:
        return
    assert mechanism.scales(layer), "silently not equalized"


def test_a_parametrized_bias_first():
    """Beside a parametrization of the bias the class is torch's, so the weight is refused."""
    model = nn.Linear(6, 3).double()
    parametrize.register_parametrization(model, "bias", Negative())
    with pytest.raises(errors.OwnedWeight, match="'bias'"):
        EQUALIZED.wrap(model)
    parametrize.remove_parametrizations(model, "bias")
    EQUALIZED.assert_alike(*EQUALIZED.twins(model), x())


def test_a_parametrized_bias_after():
    """Put on later, it works; giving the weight back below it is refused until it is gone."""
    model, plain = EQUALIZED.twins(nn.Linear(6, 3))
    parametrize.register_parametrization(model, "bias", Negative())
    close(model(x()), plain(x()))
    with pytest.raises(errors.WrappedOnTop, match="reverse order"):
        EQUALIZED.unwrap(model)
    parametrize.remove_parametrizations(model, "bias")
    EQUALIZED.assert_alike(EQUALIZED.unwrap(model), plain, x())


def test_twice_is_refused_by_name_and_passed_over_in_a_model():
    """No weight gets its constant twice."""
    from equalized_lr import equalize_lr

    model, plain = EQUALIZED.twins(net())
    with pytest.raises(errors.AlreadyEqualized, match="c = "):
        equalize_lr(model[0], "weight")
    with pytest.raises(errors.NothingToEqualize, match="equalized already"):
        equalize_lr(model)
    EQUALIZED.assert_alike(model, plain, x())


@common_hook("error")
def test_a_name_that_is_taken(mechanism):
    """A layer with an attribute `weight_orig` of its own is refused, with all that came before."""
    model = net()
    model[2].weight_orig = "mine"
    before = Snapshot(model)
    with pytest.raises(errors.NameTaken, match="weight_orig"):
        mechanism.wrap(model)
    before.assert_unchanged()


@common_hook("silent")
def test_a_refusal_in_the_last_layer(mechanism):
    """What cannot be equalized is found before the first layer is touched."""
    model = nn.Sequential(nn.Linear(6, 6), nn.LazyLinear(3))
    before = Snapshot(model)
    with pytest.raises(errors.LazyWeight):
        mechanism.wrap(model)
    before.assert_unchanged()
