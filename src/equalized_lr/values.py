"""The numbers in the stored parameters: drawn from N(0, 1), or kept as the function they were."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equalized_lr.distributed import distribute_like, is_dtensor
from equalized_lr.errors import InvalidArgument, Unscalable, WrongGenerator
from equalized_lr.plan import Plan, Share

# No draw from N(0, 1) is larger in float64 (Box-Muller with 53 bits ends at 8.6).
LARGEST_NORMAL = 9.0


def refuse_values(plan: Plan, init: str, generator: torch.Generator | None) -> None:
    """Raises if the values that `init` asks for cannot be had."""
    if init not in ("normal", "keep"):
        raise InvalidArgument("init", init, "'normal' or 'keep'")
    for share in plan.shares:
        where, tensor = str(share.slots[0]), share.parameter
        if init == "normal":
            largest, divisor = LARGEST_NORMAL, share.lr_mul
            if generator is not None and generator.device.type != tensor.device.type:
                raise WrongGenerator(where, tensor.device.type, generator.device.type)
        else:
            largest, divisor = _largest(tensor), share.scale
        if largest / divisor > torch.finfo(tensor.dtype).max:
            raise Unscalable(where, divisor, str(tensor.dtype))


@torch.no_grad()
def draw(plan: Plan, generator: torch.Generator | None) -> None:
    """w ~ N(0, 1 / lr_mul**2) for weights, zero for biases.

    Karras et al. 2018 (PGGAN), section 4.1, with lr_mul as in StyleGAN.
    """
    for share in plan.weights:
        _draw_normal(share.parameter, 1.0 / share.lr_mul, generator)
        for slot in share.slots:
            if isinstance(slot.module, nn.Embedding | nn.EmbeddingBag):
                padding = slot.module.padding_idx
                if padding is not None:
                    share.parameter[padding] = 0.0
    for bias in [share.slots[0] for share in plan.biases] + plan.plain_biases:
        bias.parameter.zero_()


def _draw_normal(parameter: Tensor, std: float, generator: torch.Generator | None) -> None:
    if not is_dtensor(parameter):
        parameter.normal_(0.0, std, generator=generator)
        return
    # Each process would draw for its own shard, on a CPU the same numbers. The first one draws.
    drawn = torch.empty(parameter.shape, dtype=parameter.dtype, device=parameter.device)
    parameter.copy_(distribute_like(drawn.normal_(0.0, std, generator=generator), parameter))


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


def _largest(tensor: Tensor) -> float:
    if tensor.is_meta:
        return 0.0
    finite = tensor.detach().abs().nan_to_num(nan=0.0, posinf=0.0)
    return float(finite.max())
