"""What an equalized layer saves: stored values with their scales, or the effective weights."""

from __future__ import annotations

from contextvars import ContextVar
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from equalized_lr.arguments import refuse_non_module
from equalized_lr.errors import ShardedWeight, WrappedOnTop
from equalized_lr.layer.hook import scales_of, store_all_writes, stored, stored_name
from equalized_lr.layer.loading import METADATA, VERSION, LoadableState
from equalized_lr.tensors import is_fsdp1

_SHOWN = "equalized_lr_shown"  # what a layer's own hooks were shown, on the way through them

# Set while `plain_state_dict` runs: what it has computed from what, so that ties stay one tensor.
_Effective = dict[tuple[Tensor, float], Tensor]
_plain_values: ContextVar[_Effective | None] = ContextVar("plain values", default=None)


class EffectiveState(LoadableState):
    """Saves stored values and their scales.

    Note [A layer's own save and load code]: it knows plain names and effective values, and is to
    find them. So where a layer has such code, effective values go under plain names while it runs.
    Afterwards those that it left alone are exchanged for the stored ones, which are exact.
    """

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        store_all_writes(self)
        before = len(destination)
        super()._save_to_state_dict(destination, prefix, keep_vars)
        computed = _plain_values.get()
        has_own_code = bool(self._state_dict_hooks) or _saves_its_own_way(self)
        if computed is not None or has_own_code:
            added = list(islice(reversed(destination), len(destination) - before))[::-1]
            _make_plain(self, destination, prefix, added, {} if computed is None else computed)
        metadata = getattr(destination, "_metadata", None)
        if metadata is not None and computed is None:
            own = metadata.setdefault(prefix[:-1], {})
            own[METADATA] = {"version": VERSION, "scales": dict(scales_of(self))}
            if has_own_code:
                names = [name for name in scales_of(self) if prefix + name in destination]
                shown = {name: destination[prefix + name] for name in names}
                metadata[prefix[:-1]][_SHOWN] = shown

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As in torch; this layer's own hooks see plain names and effective values."""
        state = super().state_dict(*args, **kwargs)
        named = dict(zip(("destination", "prefix", "keep_vars"), args, strict=False)) | kwargs
        prefix = named.get("prefix", "")
        metadata = getattr(state, "_metadata", {}).get(prefix[:-1], {})
        shown = {prefix + name: (name, value) for name, value in metadata.pop(_SHOWN, {}).items()}
        for key in list(state) if shown else ():  # each goes and comes back, so the order stays
            value = state.pop(key)
            name, own = shown.get(key, ("", None))
            if name and value is own:
                raw = stored(self, name)
                state[prefix + stored_name(name)] = raw if named.get("keep_vars") else raw.detach()
            else:
                state[key] = value
        return state


def _saves_its_own_way(layer: nn.Module) -> bool:
    plain: Any = layer
    return plain._plain_class._save_to_state_dict is not nn.Module._save_to_state_dict


def _make_plain(
    layer: nn.Module, state: Any, prefix: str, keys: list[str], computed: _Effective
) -> None:
    """Puts effective values under plain names in the place of a layer's own entries."""
    names = {prefix + stored_name(name): name for name in scales_of(layer)}
    for key, name in names.items():
        if key not in keys and prefix + name not in keys:
            where = f"'{name}' of this {type(layer).__name__}"
            raise WrappedOnTop(where, f"another reparametrization of '{stored_name(name)}'")
    for key in keys:  # each goes and comes back, so the order stays
        value = state.pop(key)
        if key in names:
            name = names[key]
            raw, scale = stored(layer, name), scales_of(layer)[name]
            if (raw, scale) not in computed:
                computed[raw, scale] = raw.detach() * scale
            state[prefix + name] = computed[raw, scale]
        else:
            state[key] = value


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
    for path, inner in module.named_modules():
        if is_fsdp1(inner):  # which saves by stored names
            raise ShardedWeight(f"what is in '{path}'" if path else "this FSDP model")
    token = _plain_values.set({})
    try:
        return module.state_dict()
    finally:
        _plain_values.reset(token)
