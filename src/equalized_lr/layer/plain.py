"""`plain_state_dict`: the effective weights under plain names."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equalized_lr.layer.state_dict import effective_values
from equalized_lr.plan.checks import refuse_flattened, refuse_non_module


@torch.no_grad()
def plain_state_dict(module: nn.Module) -> dict[str, Tensor]:
    """The state_dict that `remove_equalized_lr` would leave, without touching the module.

    Use it wherever others are to load the model: its keys, their order and its values are those
    of a plain model. Weights that are tied are one tensor here, too.

    Example:
        >>> layer = equalize_lr(nn.Linear(8, 2))
        >>> state = plain_state_dict(layer)
        >>> list(state), torch.equal(state["weight"], layer.weight)
        (['weight', 'bias'], True)

    Args:
        module: equalized, plain or mixed.

    Returns:
        Effective weights, each in memory of its own; everything else as `module.state_dict()`
        has it, which shares memory with the module.

    Raises:
        ShardedWeight: FSDP1 has flattened the weights.
        WrappedOnTop: another reparametrization is on a stored weight, and saves it its own way.
    """
    refuse_non_module(module)
    refuse_flattened(module)
    token = effective_values.set({})
    try:
        return module.state_dict()
    finally:
        effective_values.reset(token)
