"""What users would write or import instead, in the forms that they have in public code.

Each rival takes a plain model and gives one that computes with c * weight, stored as N(0, 1).
"""

import math

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize

from equalized_lr import equalize_lr, he_scales
from tests.support.reference import CommonHook


def plain(model):
    """Nothing at all."""
    return model


def equalized(model):
    """This library."""
    return equalize_lr(model, init="keep")


class HandLinear(nn.Linear):
    """A layer of one's own."""

    def forward(self, x):
        return functional.linear(x, self.weight * self.scale, self.bias)


class HandConv2d(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, self.weight * self.scale, self.bias)


class HandConvTranspose2d(nn.ConvTranspose2d):
    def forward(self, x):
        weight = self.weight * self.scale
        return functional.conv_transpose2d(x, weight, self.bias, self.stride, self.padding)


HAND = {
    nn.Linear: HandLinear,
    nn.Conv2d: HandConv2d,
    nn.ConvTranspose2d: HandConvTranspose2d,
}


def by_hand(model):
    """Layers of one's own, which multiply in their forward."""
    for layer, scale in _weights(model):
        layer.__class__, layer.scale = HAND[type(layer)], scale
        with torch.no_grad():
            layer.weight.div_(scale)
    return model


class Scaling(nn.Module):
    """A parametrization for torch.nn.utils.parametrize."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, weight):
        return weight * self.scale

    def right_inverse(self, weight):
        return weight / self.scale


def parametrized(model):
    """torch's own parametrize."""
    for layer, scale in _weights(model):
        parametrize.register_parametrization(layer, "weight", Scaling(scale))
    return model


class FanHook(CommonHook):
    """The common hook, which finds the fan anew in each forward."""

    def __call__(self, module, args):
        weight = getattr(module, self.name + "_orig")
        fan = weight.size(1) * weight[0][0].numel()
        setattr(module, self.name, weight * math.sqrt(2 / fan))


class TensorHook(CommonHook):
    """A hook that builds tensors in each forward, to take the root of the fan."""

    def __call__(self, module, args):
        weight = getattr(module, self.name + "_orig")
        fan = weight[0].numel()
        scale = torch.tensor(math.sqrt(2)) * torch.sqrt(torch.tensor(1.0 / fan))
        setattr(module, self.name, weight * scale.to(weight))


def common_hook(model):
    """The pre-hook of most code bases."""
    return _hooked(model, FanHook)


def tensor_hook(model):
    """The pre-hook of the slower ones."""
    return _hooked(model, TensorHook)


def _hooked(model, hook):
    for layer, scale in _weights(model):
        weight = layer._parameters.pop("weight")
        layer.register_parameter("weight_orig", nn.Parameter(weight.detach() / scale))
        layer.register_forward_pre_hook(hook("weight", scale))
    return model


def _weights(model):
    return [
        (layer, he_scales(layer)["weight"])
        for layer in list(model.modules())
        if type(layer) in HAND
    ]


RIVALS = {
    "plain": plain,
    "by hand": by_hand,
    "equalized": equalized,
    "parametrize": parametrized,
    "common hook": common_hook,
    "tensor hook": tensor_hook,
}


def build(name, make):
    """A rival's model; all have the same plain weights."""
    torch.manual_seed(0)
    return RIVALS[name](make())
