"""Reads of the weight: by whom, when, and how often."""

import torch
from torch import nn

from tests.support.mechanisms import close, common_hook, net, x


class StepConv(nn.Linear):
    """Has a method besides forward that computes with the weight."""

    def one_step(self, inputs):
        return nn.functional.linear(inputs, self.weight, self.bias)


@common_hook("holds")
def test_forward_and_gradient(mechanism):
    """Three steps of training are those of the plain twin."""
    model, plain = mechanism.twins(net())
    for _ in range(3):
        mechanism.assert_alike(model, plain, x())


@common_hook("error")
def test_before_the_first_forward(mechanism):
    """The weight can be read at once."""
    model, plain = mechanism.twins(net())
    close(model[0].weight, plain[0].weight)


@common_hook("silent")
def test_after_a_step(mechanism):
    """A read after a step sees the step."""
    model, plain = mechanism.twins(net())
    mechanism.assert_alike(model, plain, x())
    close(model[0].weight, plain[0].weight)


@common_hook("error")
def test_in_a_regulariser(mechanism):
    """A penalty on the weights, read outside of any forward, gives its gradient each time."""
    model, plain = mechanism.twins(net())
    mechanism.assert_alike(model, plain, x())
    for _ in range(2):
        for twin in (model, plain):
            (twin[0].weight.square().sum() + twin[2].weight.abs().sum()).backward()
        mechanism.assert_gradients(model, plain)
        mechanism.step(model, plain)
    mechanism.assert_alike(model, plain, x())


@common_hook("silent")
def test_forward_without_call(mechanism):
    """`layer.forward(x)` runs no hooks, and computes with the weight of now."""
    model, plain = mechanism.twins(nn.Linear(6, 3))
    mechanism.assert_alike(model, plain, x())
    close(model.forward(x()), plain.forward(x()))


@common_hook("error")
def test_in_another_method(mechanism):
    """A method other than forward reads the weight, and its gradient arrives."""
    model, plain = mechanism.twins(StepConv(6, 3))
    for twin in (model, plain):
        twin.one_step(x()).square().sum().backward()
    close(model.one_step(x()), plain.one_step(x()))
    mechanism.assert_gradients(model, plain)


@common_hook("holds")
def test_in_hooks_of_the_user(mechanism):
    """Forward pre-hooks and forward hooks see the weight that the layer computes with."""
    model, plain = mechanism.twins(nn.Linear(6, 3))
    seen = []
    model.register_forward_pre_hook(lambda layer, args: seen.append(layer.weight.detach().clone()))
    model.register_forward_hook(lambda layer, args, out: seen.append(layer.weight.detach().clone()))
    mechanism.assert_alike(model, plain, x())
    model(x())
    close(seen[0], seen[1])
    close(seen[2], plain.weight)
    close(seen[3], plain.weight)


@common_hook("holds")
def test_in_backward_hooks(mechanism):
    """A full backward hook sees the weight whose gradient is on its way."""
    model, plain = mechanism.twins(nn.Linear(6, 3))
    expected, seen = plain.weight.detach().clone(), []
    model.register_full_backward_hook(lambda layer, *_: seen.append(layer.weight.detach().clone()))
    mechanism.assert_alike(model, plain, x().requires_grad_())
    close(seen[0], expected)


@common_hook("silent")
def test_in_a_global_forward_pre_hook(mechanism):
    """Hooks for all modules run before the layer's own, and see the weight of now as well."""
    model, plain = mechanism.twins(nn.Linear(6, 3))
    mechanism.assert_alike(model, plain, x())
    seen = []
    handle = nn.modules.module.register_module_forward_pre_hook(
        lambda layer, args: seen.append(layer.weight.detach().clone())
    )
    try:
        model(x())
    finally:
        handle.remove()
    close(seen[0], plain.weight)


@common_hook("holds")
def test_by_keyword(mechanism):
    """A forward that is called with keywords only."""
    model, plain = mechanism.twins(nn.Linear(6, 3))
    mechanism.assert_alike(model, plain, input=x())
    with torch.no_grad():
        close(model(input=x()), plain(input=x()))
