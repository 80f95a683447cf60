"""Modules from a function: what a layer of one's own computes, with its parameters beside it."""

import torch
from torch import Tensor, nn


class Functional(nn.Module):
    """A forward and the parameters, buffers and modules that it reads as attributes of itself."""

    def __init__(self, compute, **members):
        super().__init__()
        self.compute = compute
        for name, member in members.items():
            if isinstance(member, Tensor) and not isinstance(member, nn.Parameter):
                self.register_buffer(name, member)
            else:
                setattr(self, name, member)

    def forward(self, *args, **kwargs):
        return self.compute(self, *args, **kwargs)


def parameter(*shape, dtype=None):
    """Normal values."""
    return nn.Parameter(torch.randn(shape, dtype=dtype))
