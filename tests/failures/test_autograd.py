"""Gradients: several forwards, several orders, several modes."""

import torch
from torch import nn

from tests.support.mechanisms import close, common_hook, net, x


@common_hook("holds")
def test_real_minus_fake(mechanism):
    """Two forwards of one critic in one loss."""
    model, plain = mechanism.twins(net())
    for twin in (model, plain):
        (twin(x(seed=1)).mean() - twin(x(seed=2)).mean()).backward()
    mechanism.assert_gradients(model, plain)


@common_hook("holds")
def test_accumulation(mechanism):
    """Gradients of several backwards add up."""
    model, plain = mechanism.twins(net())
    for seed in range(3):
        for twin in (model, plain):
            twin(x(seed=seed)).square().mean().backward()
    mechanism.assert_gradients(model, plain)


@common_hook("holds")
def test_r1(mechanism):
    """StyleGAN's penalty: the gradient of the gradient reaches the stored weights."""
    model, plain = mechanism.twins(net())
    for twin in (model, plain):
        real = x().requires_grad_()
        (slope,) = torch.autograd.grad(twin(real).square().sum(), real, create_graph=True)
        slope.square().sum().backward()
    mechanism.assert_gradients(model, plain)


@common_hook("holds")
def test_wgan_gp(mechanism):
    """WGAN-GP's penalty beside the critic's loss."""
    model, plain = mechanism.twins(net())
    for twin in (model, plain):
        mixed = x(seed=3).requires_grad_()
        (slope,) = torch.autograd.grad(twin(mixed).square().sum(), mixed, create_graph=True)
        loss = twin(x(seed=1)).mean() - twin(x(seed=2)).mean()
        (loss + (slope.norm(dim=1) - 1).square().mean()).backward()
    mechanism.assert_gradients(model, plain)


@common_hook("silent")
def test_a_read_after_a_forward_without_gradients(mechanism):
    """A forward under no_grad does not take the gradient from later reads."""
    model, plain = mechanism.twins(net())
    with torch.no_grad():
        model(x()), plain(x())
    close(model[0].weight, plain[0].weight)
    assert model[0].weight.requires_grad
    for twin in (model, plain):
        twin[0].weight.square().sum().backward()
    mechanism.assert_gradients(model, plain)


@common_hook("error")
def test_training_after_inference_mode(mechanism):
    """A penalty on a weight after an evaluation in inference mode."""
    model, plain = mechanism.twins(net())
    with torch.inference_mode():
        close(model(x()), plain(x()))
    for twin in (model, plain):
        twin[0].weight.square().sum().backward()
    mechanism.assert_gradients(model, plain)
    mechanism.assert_alike(model, plain, x())


@common_hook("holds")
def test_equalized_without_gradients(mechanism):
    """Equalizing under no_grad does not freeze the model."""
    with torch.no_grad():
        model, plain = mechanism.twins(net())
    mechanism.assert_alike(model, plain, x())


@common_hook("holds")
def test_two_losses_of_one_layer(mechanism):
    """Two outputs of one forward, each with a backward of its own."""
    model, plain = mechanism.twins(nn.Linear(6, 4))
    for twin in (model, plain):
        left, right = twin(x()).chunk(2, dim=1)
        left.square().sum().backward(retain_graph=True)
        right.square().sum().backward()
    mechanism.assert_gradients(model, plain)
