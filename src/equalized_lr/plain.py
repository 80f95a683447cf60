"""`plain_state_dict`: the effective weights under plain names."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equalized_lr.hook import scales_of
from equalized_lr.refuse import refuse_non_module, refuse_stored_elsewhere
from equalized_lr.state import effective_values


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
        WrappedOnTop: another reparametrization is on top of a stored weight.
    """
    refuse_non_module(module)
    for layer in module.modules():
        for name in scales_of(layer):
            refuse_stored_elsewhere(layer, name)
    with effective_values():
        return module.state_dict()
