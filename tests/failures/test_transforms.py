"""torch.func: functional calls, vmap, gradients, forward mode."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jvp, stack_module_state, vmap

from tests.support.mechanisms import close, common_hook, net, x


@common_hook("silent")
def test_functional_call_with_stored_names(mechanism):
    """The given values count inside, and are forgotten after."""
    model, plain = mechanism.twins(nn.Linear(6, 3))
    other, plain_other = mechanism.twins(nn.Linear(6, 3))
    given = {name: p.detach() for name, p in other.named_parameters()}
    close(functional_call(model, given, (x(),)), plain_other(x()))
    close(model.weight, plain.weight)


@common_hook("silent")
def test_functional_call_with_plain_names(mechanism):
    """A plain name is not passed over in silence, but refused."""
    model, plain = mechanism.twins(nn.Linear(6, 3))
    model(x())
    try:
        output = functional_call(model, {"weight": x(3, 6)}, (x(),))
    except (AttributeError, TypeError, KeyError):
        mechanism.assert_alike(model, plain, x())
    else:
        close(output, nn.functional.linear(x(), x(3, 6), plain.bias))


@common_hook("error")
def test_an_ensemble(mechanism):
    """vmap over the stacked parameters of three models that have run."""
    pairs = [mechanism.twins(net()) for _ in range(3)]
    outputs = [model(x()) for model, _ in pairs]
    state, _ = stack_module_state([model for model, _ in pairs])
    base = copy.deepcopy(pairs[0][0]).to("meta")
    inputs = x()
    stacked = vmap(lambda s: functional_call(base, s, (inputs,)))(state)
    close(stacked, torch.stack([plain(x()) for _, plain in pairs]))
    assert len(outputs) == 3


@common_hook("error")
def test_gradients_per_sample(mechanism):
    """grad inside vmap, on a copy of a model that has run."""
    model, plain = mechanism.twins(net())
    model(x())
    slopes = []
    for twin in (copy.deepcopy(model), plain):
        values = {name: p.detach() for name, p in twin.named_parameters()}

        def loss(values, sample, twin=twin):
            return functional_call(twin, values, (sample[None],)).square().sum()

        slopes.append(vmap(grad(loss), (None, 0))(values, x()))
    scales = mechanism.scales(model)
    close(slopes[0]["0.weight_orig"], slopes[1]["0.weight"] * scales["0.weight"])
    close(slopes[0]["2.bias"], slopes[1]["2.bias"])


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch's own decompositions
@common_hook("holds")
def test_forward_mode(mechanism):
    """A derivative in forward mode through the stored weight."""
    model, plain = mechanism.twins(nn.Linear(6, 3))
    direction = x(3, 6, seed=5)
    tangents = []
    for twin, name, c in ((model, "weight_orig", mechanism.scales(model)["weight"]),
                          (plain, "weight", 1.0)):  # fmt: skip
        value = dict(twin.named_parameters())[name].detach()

        def output(weight, twin=twin, name=name):
            rest = {"bias": twin.bias.detach()}
            return functional_call(twin, {name: weight} | rest, (x(),))

        tangents.append(jvp(output, (value,), (direction / c,))[1])
    close(*tangents)
