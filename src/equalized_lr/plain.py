"""`plain_state_dict`: the effective weights under plain names."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equalized_lr.hook import scales_of, stored, stored_name
from equalized_lr.refuse import refuse_non_module
from equalized_lr.state import METADATA


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
    """
    refuse_non_module(module)
    effective: dict[Tensor, Tensor] = {}
    plain: dict[str, tuple[str, Tensor]] = {}
    for path, layer in module.named_modules(remove_duplicate=False):
        prefix = f"{path}." if path else ""
        for name, scale in scales_of(layer).items():
            raw = stored(layer, stored_name(name))
            if raw not in effective:
                effective[raw] = raw.detach() * scale
            plain[prefix + stored_name(name)] = prefix + name, effective[raw]
    state = module.state_dict()
    for own in getattr(state, "_metadata", {}).values():
        own.pop(METADATA, None)
    items = [plain.get(key, (key, value)) for key, value in state.items()]
    state.clear()
    state.update(items)
    return state
