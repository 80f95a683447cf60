"""How values come into an equalized layer and leave it: assignment and state_dicts."""

from __future__ import annotations

from contextvars import ContextVar
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from equalized_lr.distributed import is_dtensor
from equalized_lr.errors import AmbiguousState, NotAssignable, ParallelizeFirst, WrappedOnTop
from equalized_lr.holders import Slot, refuse_other_holder
from equalized_lr.hook import scales_of, stored, stored_name
from equalized_lr.memory import unscalable_kind

METADATA = "equalized_lr"
VERSION = 1

# Set while `plain_state_dict` runs: what it has computed, by stored tensor; ties stay one tensor.
effective_values: ContextVar[dict[Tensor, Tensor] | None] = ContextVar("effective", default=None)


class EffectiveState(nn.Module):
    """Gives effective values a way in, and the constants a way along with the stored ones."""

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """`layer.weight = Parameter(...)`: an effective weight, divided by c and stored."""
        scales = scales_of(self)
        plain = name if name in scales else name.removesuffix(stored_name(""))
        if (
            plain in scales
            and is_dtensor(param)
            and not is_dtensor(stored(self, stored_name(plain)))
        ):
            raise ParallelizeFirst(plain, type(self).__name__)
        scale = scales.get(name)
        if scale is None:
            super().register_parameter(name, param)
            return
        if param is None:
            raise NotAssignable(name, "None")
        kind = unscalable_kind(param)
        if kind:
            raise NotAssignable(name, f"a Parameter that is {kind}")
        refuse_other_holder(param, Slot("", self, name))
        raw = stored(self, stored_name(name))
        with torch.no_grad():
            value = param / scale
            if (value.shape, value.dtype, value.device) == (raw.shape, raw.dtype, raw.device):
                raw.copy_(value)
            else:
                raw.data = value
        raw.requires_grad_(param.requires_grad)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        before = len(destination)
        super()._save_to_state_dict(destination, prefix, keep_vars)
        effective = effective_values.get()
        if effective is not None:
            added = list(islice(reversed(destination), len(destination) - before))
            self._make_plain(destination, prefix, added[::-1], effective)
            return
        metadata = getattr(destination, "_metadata", None)
        if metadata is not None:
            own = metadata.setdefault(prefix[:-1], {})
            own[METADATA] = {"version": VERSION, "scales": dict(scales_of(self))}

    def _make_plain(
        self, state: Any, prefix: str, keys: list[str], effective: dict[Tensor, Tensor]
    ) -> None:
        """Puts effective values under plain names in the place of this module's own entries."""
        names = {prefix + stored_name(name): name for name in scales_of(self)}
        for key, name in names.items():
            if key not in keys:
                where = f"'{name}' of this {type(self).__name__}"
                raise WrappedOnTop(where, f"another reparametrization of '{stored_name(name)}'")
        for key in keys:  # each goes and comes back, so that the order stays
            value = state.pop(key)
            if key not in names:
                state[key] = value
                continue
            raw = stored(self, stored_name(names[key]))
            if raw not in effective:
                effective[raw] = raw.detach() * scales_of(self)[names[key]]
            state[prefix + names[key]] = effective[raw]

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Tensor],
        prefix: str,
        local_metadata: dict[str, Any],
        *rest: Any,
    ) -> None:
        # What was saved is the function: numbers stored under another constant are converted.
        here = scales_of(self)
        saved = {**here, **local_metadata.get(METADATA, {}).get("scales", {})}
        for name, scale in saved.items():
            plain, raw = prefix + name, prefix + stored_name(name)
            if plain in state_dict and raw in state_dict:
                rest[-1].append(str(AmbiguousState(plain, raw)))
                del state_dict[plain]
            elif plain in state_dict or raw in state_dict:
                key, factor = (raw, scale) if raw in state_dict else (plain, 1.0)
                value, divisor = state_dict.pop(key), here.get(name, 1.0) / factor
                own = raw if name in here else plain
                state_dict[own] = value if divisor == 1.0 else value / divisor
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)
