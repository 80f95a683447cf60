"""The library and the common hook behind one face, and what it means that a model is right.

A test of this folder is one way in which reparametrizations break. It takes a mechanism, compares
the model with a plain twin that makes the same steps, and runs twice: the library must hold, and
the common hook must do what the decorator says. So each test is shown to see the fault it is for.
"""

import copy
import functools
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from equalized_lr import equalize_lr, fans, he_scales, remove_equalized_lr
from tests.support.reference import CommonHook


def wrap_in_common_hooks(model):
    """Each known weight becomes a new Parameter behind a hook that sets `weight`."""
    for layer in model.modules():
        names = [name for name in fans(layer) if layer._parameters.get(name) is not None]
        scales = he_scales(layer, where=lambda path, _: path == "") if names else {}
        for name in names:
            weight = layer._parameters.pop(name)
            layer.register_parameter(f"{name}_orig", nn.Parameter(weight.detach() / scales[name]))
            layer.register_forward_pre_hook(CommonHook(name, scales[name]))
    return model


def common_hooks(model):
    """(path, layer, handle, hook) of each common hook in a model."""
    return [
        (path, layer, key, hook)
        for path, layer in model.named_modules()
        for key, hook in layer._forward_pre_hooks.items()
        if isinstance(hook, CommonHook)
    ]


def unwrap_common_hooks(model):
    for _, layer, key, hook in common_hooks(model):
        weight = layer._parameters.pop(f"{hook.name}_orig").detach() * hook.scale
        layer.__dict__.pop(hook.name, None)
        layer.register_parameter(hook.name, nn.Parameter(weight))
        del layer._forward_pre_hooks[key]
    return model


def scales_in_common_hooks(model):
    return {f"{path}.{hook.name}".strip("."): hook.scale for path, *_, hook in common_hooks(model)}


@dataclass(frozen=True)
class Mechanism:
    """How to equalize, how to give back, and the constants of an equalized model."""

    name: str
    wrap: Any
    unwrap: Any
    scales: Any

    def twins(self, plain):
        """The model in double precision, equalized as the function it is, and a plain copy."""
        plain = plain.double()
        return self.wrap(copy.deepcopy(plain)), plain

    def stored(self, model):
        """(plain name, Parameter, c) of each parameter."""
        scales = self.scales(model)
        for name, parameter in model.named_parameters():
            plain = name.removesuffix("_orig")
            yield plain, parameter, scales.get(plain, 1.0) if plain != name else 1.0

    def sgd(self, model, lr=0.1):
        """The optimizer whose steps move the effective weights as plain SGD moves plain ones."""
        stored = self.stored(model)
        return torch.optim.SGD([{"params": [p], "lr": lr / c**2} for _, p, c in stored])

    def step(self, *models, lr=0.1):
        """One step of SGD by the gradients that have come, plain models included."""
        for model in models:
            self.sgd(model, lr).step()
            model.zero_grad()

    def assert_gradients(self, model, plain):
        """Every stored parameter has c times the plain gradient, or neither has one."""
        stored = {name: (parameter, c) for name, parameter, c in self.stored(model)}
        for name, parameter in plain.named_parameters():
            ours, c = stored[name]
            assert (ours.grad is None) == (parameter.grad is None), f"gradient of {name}"
            if parameter.grad is not None:
                close(ours.grad, c * parameter.grad)

    def assert_alike(self, model, plain, *inputs, **named):
        """Outputs and gradients of the model are those of its plain twin; then both step."""
        outputs = [first(m(*inputs, **named)) for m in (model, plain)]
        close(*outputs)
        for m, output in zip((model, plain), outputs, strict=True):
            m.zero_grad()
            output.square().sum().backward()
        self.assert_gradients(model, plain)
        self.step(model, plain)


EQUALIZED = Mechanism(
    "equalized", lambda m: equalize_lr(m, init="keep", fans={}), remove_equalized_lr, he_scales
)
COMMON_HOOK = Mechanism(
    "common-hook", wrap_in_common_hooks, unwrap_common_hooks, scales_in_common_hooks
)


def common_hook(does):
    """Runs a test with both mechanisms; the common hook "holds", is "silent", or gives an "error".

    Silent means that an assertion of the test sees a wrong result of a run without errors.
    """

    def decorate(test):
        @pytest.mark.parametrize(
            "mechanism", [EQUALIZED, COMMON_HOOK], ids=["equalized", f"common-hook-{does}"]
        )
        @functools.wraps(test)
        def run(mechanism, **fixtures):
            if mechanism is EQUALIZED or does == "holds":
                test(mechanism, **fixtures)
                return
            with pytest.raises(Exception) as seen:  # noqa: PT011 (which one is asserted below)
                test(mechanism, **fixtures)
            assert isinstance(seen.value, AssertionError) == (does == "silent"), seen.value

        return run

    return decorate


def net():
    """Two linear layers."""
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def x(*shape, seed=0):
    """An input of this shape, the same each time."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*(shape or (4, 6)), generator=generator, dtype=torch.float64)


def first(output):
    """The first tensor that a model returned."""
    while not isinstance(output, torch.Tensor):
        output = output[0]
    return output


def close(actual, expected):
    """Equal but for the rounding of double precision, far below any real difference."""
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)
