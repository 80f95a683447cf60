"""The oracle: equalized learning rates and connections, naively, from the papers' definitions."""

import math
from itertools import product

import torch
from torch import nn
from torch.func import functional_call


def he_constant(fan, gain=math.sqrt(2), lr_mul=1.0):
    """He et al. 2015, equation 10, with a gain in the place of sqrt(2), times lr_mul."""
    return gain / math.sqrt(fan) * lr_mul


def computed_with(plain, effective, *inputs):
    """What a plain layer gives with these effective weights in the place of its own."""
    return functional_call(plain, effective, inputs)


def counted_fans(layer):
    """(fan_in, fan_out) of a convolution, by counting the connections of its middle, one by one."""
    rank = len(layer.kernel_size)
    into, out = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    touching = math.prod(_mean_reach(layer, axis, forward=True) for axis in range(rank))
    touched = math.prod(_mean_reach(layer, axis, forward=False) for axis in range(rank))
    return into * touching, out * touched


def _mean_reach(layer, axis, *, forward):
    """How many positions of one side the mean position of the other is connected with."""
    kernel, stride, dilation = (
        getattr(layer, name)[axis] for name in ("kernel_size", "stride", "dilation")
    )
    transposed = "Transpose" in type(layer).__name__
    length = 60  # a multiple of every stride used here, far from the borders of -200 .. 200
    coarse_to_fine = {
        (coarse, coarse * stride + tap * dilation)
        for coarse, tap in product(range(-200, 201), range(kernel))
    }
    side = 1 if forward == transposed else 0  # 1: count per fine position, 0: per coarse one
    counted = sum(1 for edge in coarse_to_fine if 0 <= edge[side] < length)
    return counted / length


class CommonHook:
    """The hook that most code bases have: a new Parameter, and `weight` set before each forward.

    It is here to show that the tests see its faults.
    """

    def __init__(self, name, scale):
        self.name, self.scale = name, scale

    def __call__(self, module, args):
        setattr(module, self.name, getattr(module, self.name + "_orig") * self.scale)

    @classmethod
    def wrap(cls, layer, name="weight", gain=math.sqrt(2)):
        weight = getattr(layer, name)
        fan = weight.shape[1] * weight[0][0].numel()  # wrong for transposed convolutions
        del layer._parameters[name]
        stored = nn.Parameter(torch.randn_like(weight))
        layer.register_parameter(name + "_orig", stored)
        layer.register_forward_pre_hook(cls(name, gain / math.sqrt(fan)))
        return layer


class PublishedLREQAdam:
    """ALAE's rule for one tensor, element by element from its equations, in Python's floats."""

    def __init__(self, lr, scale, beta2=0.99, eps=1e-8):
        self.lr, self.scale, self.beta2, self.eps = lr, scale, beta2, eps
        self.steps, self.squares = 0, None

    def moved(self, values, gradients):
        """The values after one step."""
        self.steps += 1
        before = self.squares or [0.0] * len(values)
        pairs = zip(before, gradients, strict=True)
        self.squares = [self.beta2 * v + (1 - self.beta2) * g * g for v, g in pairs]
        rate = self.lr * self.scale * math.sqrt(1 - self.beta2**self.steps)
        return [
            p - rate * g / (math.sqrt(v) + self.eps)
            for p, g, v in zip(values, gradients, self.squares, strict=True)
        ]
