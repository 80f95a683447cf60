"""The numbers in stored parameters: drawn from a normal distribution, or rescaled."""

from collections.abc import Mapping

import torch
from torch import Tensor

from equalized_lr.tensors import distribute_like, is_dtensor


def draw_normal(parameter: Tensor, std: float, generator: torch.Generator | None) -> None:
    """Fills a parameter from N(0, std**2); called without gradients."""
    # In float32 at least: before torch 2.12, numbers drawn in bfloat16 end at 3.3.
    dtype = torch.promote_types(parameter.dtype, torch.float32)
    if dtype == parameter.dtype and not is_dtensor(parameter):
        parameter.normal_(0.0, std, generator=generator)
        return
    drawn = torch.empty(parameter.shape, dtype=dtype, device=parameter.device)
    drawn.normal_(0.0, std, generator=generator)
    # Each process would draw for its own shard, on a CPU the same numbers. The first one draws.
    parameter.copy_(distribute_like(drawn, parameter) if is_dtensor(parameter) else drawn)


@torch.no_grad()
def rescale(scales: Mapping[Tensor, float], direction: int) -> None:
    """Multiplies parameters by c (direction 1) or divides them (-1), and gradients the other way.

    Dividing keeps the function of a layer that then computes c * w; multiplying gives it back.
    """
    for parameter, scale in scales.items():
        _times(parameter, scale, direction)
        if parameter.grad is not None:
            _times(parameter.grad, scale, -direction)


def _times(tensor: Tensor, scale: float, direction: int) -> None:
    # A quotient, so that a way there and back is exact where it can be.
    tensor.mul_(scale) if direction > 0 else tensor.div_(scale)
