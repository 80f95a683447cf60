"""The numbers in the stored parameters: drawn from N(0, 1), or kept as the function they were."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from equalized_lr.errors import InvalidArgument, WrongGenerator
from equalized_lr.plan.checks import EMBEDDINGS, largest, refuse_overflow
from equalized_lr.plan.plan import Plan, Share
from equalized_lr.tensors import distribute_like, is_dtensor

Init = Literal["normal", "keep"]

# No draw from N(0, 1) is larger in float64 (Box-Muller with 53 bits ends at 8.6).
LARGEST_NORMAL = 9.0


def refuse_values(plan: Plan, init: Init, generator: torch.Generator | None) -> None:
    """Raises if the values that `init` asks for cannot be had."""
    if init not in ("normal", "keep"):
        raise InvalidArgument("init", init, "'normal' or 'keep'")
    for share in plan.shares:
        where, tensor = str(share.slots[0]), share.parameter
        if init == "keep":
            refuse_overflow(where, largest(tensor), share.scale, tensor.dtype)
            continue
        refuse_overflow(where, LARGEST_NORMAL, share.lr_mul, tensor.dtype)
        if generator is not None and generator.device.type != tensor.device.type:
            raise WrongGenerator(where, tensor.device.type, generator.device.type)


@torch.no_grad()
def draw(plan: Plan, generator: torch.Generator | None) -> None:
    """w ~ N(0, 1 / lr_mul**2) for weights, zero for biases.

    Karras et al. 2018 (PGGAN), section 4.1, with lr_mul as in StyleGAN.
    """
    for share in plan.weights:
        _draw_normal(share.parameter, 1.0 / share.lr_mul, generator)
        for slot in share.slots:
            if isinstance(slot.module, EMBEDDINGS):
                padding = slot.module.padding_idx
                if padding is not None:
                    share.parameter[padding] = 0.0
    for bias in [share.slots[0] for share in plan.biases] + plan.plain_biases:
        bias.parameter.zero_()


def _draw_normal(parameter: Tensor, std: float, generator: torch.Generator | None) -> None:
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
def keep(plan: Plan) -> None:
    """w = weight / c, so that the layers compute what they did; gradients likewise."""
    for share in plan.shares:
        share.parameter.div_(share.scale)
        if share.parameter.grad is not None:
            share.parameter.grad.mul_(share.scale)


@torch.no_grad()
def bake(shares: list[Share]) -> None:
    """The reverse of `keep`: the parameters become the effective weights."""
    for share in shares:
        share.parameter.mul_(share.scale)
        if share.parameter.grad is not None:
            share.parameter.grad.div_(share.scale)
