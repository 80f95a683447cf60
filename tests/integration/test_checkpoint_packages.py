"""The package stylegan2-torch from PyPI: its own layers, saved, converted, and compared.

It compiles CUDA kernels when it is imported. On a CPU its layers run without them, so the compiler
is left out here, and what needs it (resampling) is not run.
"""

import importlib
import sys
import warnings

import pytest
import torch
import torch.utils.cpp_extension
from torch import nn
from torch.nn import functional as F

from equalized_lr.checkpoint import from_plain, to_plain
from tests.support.assertions import assert_ulps

# Sums of up to 130 products in another order, beside values of the size of the largest.
ULPS = 64


@pytest.fixture(scope="module")
def package():
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # escapes in its docstrings, distutils
        patch.setattr(torch.utils.cpp_extension, "load", lambda *args, **kwargs: None)
        yield importlib.import_module("stylegan2_torch")
    for name in [name for name in sys.modules if name.startswith("stylegan2_torch")]:
        del sys.modules[name]


def normal(network):
    for parameter in network.double().parameters():
        nn.init.normal_(parameter)
    return network


def activated(x, bias):
    return F.leaky_relu(x + bias.view(1, -1, *[1] * (x.dim() - 2)), 0.2) * 2**0.5


def modulated(x, style, weight, *, demodulate):
    """A modulated convolution of StyleGAN2 (its equations 1 and 3), one image after the other."""
    out = []
    for image, scales in zip(x, style, strict=True):
        kernel = weight[0] * scales.view(1, -1, 1, 1)
        if demodulate:
            kernel = kernel / (kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        out.append(F.conv2d(image[None], kernel, padding=kernel.shape[-1] // 2))
    return torch.cat(out)


def test_a_generator(package):
    """The 4 x 4 generator, of plain functions and converted weights, draws the same images."""
    network = normal(package.Generator(4, latent_dim=16, n_mlp=2, channels={4: 8}))
    plain = to_plain(network.state_dict(), "stylegan2-torch")
    z, noise = torch.randn(2, 16).double(), torch.randn(2, 1, 4, 4).double()
    expected = network([z], noises=[noise])

    w = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for layer in ("mapping.1", "mapping.2"):
        w = activated(F.linear(w, plain[f"{layer}.weight"]), plain[f"{layer}.bias"])

    def styled(x, layer, **kwargs):
        style = F.linear(w, plain[f"{layer}.affine.weight"], plain[f"{layer}.affine.bias"])
        return modulated(x, style, plain[f"{layer}.weight"], **kwargs)

    x = styled(plain["input.input"].expand(2, -1, -1, -1), "convs.0", demodulate=True)
    x = activated(x + plain["convs.0.add_noise.weight"] * noise, plain["convs.0.leaky_relu.bias"])
    image = styled(x, "to_rgbs.0", demodulate=False) + plain["to_rgbs.0.bias"]
    assert_ulps(image.detach(), expected.detach(), ULPS)


def test_a_discriminator(package):
    """The 4 x 4 discriminator, with plain layers of torch.nn in the place of its own."""
    network = normal(package.Discriminator(4, channels={4: 8}))
    plain = to_plain(network.state_dict(), "stylegan2-torch")
    images = torch.randn(4, 1, 4, 4).double()
    expected = network(images)

    x = activated(F.conv2d(images, plain["blocks.0.0.weight"]), plain["blocks.0.1.bias"])
    deviation = (x.var(0, unbiased=False) + 1e-8).sqrt().mean().expand(4, 1, 4, 4)
    x = F.conv2d(torch.cat([x, deviation], 1), plain["final_conv.0.weight"], padding=1)
    x = activated(x, plain["final_conv.1.bias"])
    dense, output = nn.Linear(128, 8).double(), nn.Linear(8, 1).double()
    parts = {"final_relu": dense, "final_linear": output}
    for name, layer in parts.items():
        state = {key: plain[f"{name}.{key}"] for key in ("weight", "bias")}
        layer.load_state_dict(state)
    hidden = F.leaky_relu(dense(x.flatten(1)), 0.2) * 2**0.5
    assert_ulps(output(hidden).detach(), expected.detach(), ULPS)


def test_every_key_of_larger_networks(package):
    """Networks with resampling have no unknown key, and go back into the package."""
    channels = {4: 8, 8: 6, 16: 4}
    for network in (
        package.Generator(16, latent_dim=16, n_mlp=2, channels=channels),
        package.Discriminator(16, channels=channels),
    ):
        state = normal(network).state_dict()
        again = from_plain(to_plain(state, "stylegan2-torch"), "stylegan2-torch")
        network.load_state_dict(again)
        for key, value in again.items():
            assert_ulps(value, state[key], 2)


def test_a_wrong_constant_is_seen(package):
    """Negative control: another lr_mul than the package's gives another function."""
    mapping = normal(package.generator.MappingNetwork(16, 1, 0.01))
    z = torch.randn(2, 16).double()
    state = {f"mapping.{key}": value for key, value in mapping.state_dict().items()}
    plain = to_plain(state, "stylegan2-torch", lr_mul=0.02)
    w = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    w = activated(F.linear(w, plain["mapping.1.weight"]), plain["mapping.1.bias"])
    with pytest.raises(AssertionError, match="ulps apart"):
        assert_ulps(w.detach(), mapping(z).detach(), ULPS)
