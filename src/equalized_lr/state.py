"""How values come into an equalized layer and leave it: assignment and state_dicts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from equalized_lr.distributed import is_dtensor
from equalized_lr.errors import AmbiguousState, NotAssignable, ParallelizeFirst, Unscalable
from equalized_lr.holders import Slot, refuse_assignment
from equalized_lr.hook import scales_of, stored, stored_name
from equalized_lr.memory import unscalable_kind
from equalized_lr.refuse import largest, refuse_overflow, refuse_stored_elsewhere

METADATA = "equalized_lr"
VERSION = 1


class _Effective:
    """The effective values of one state_dict: a tie is one tensor in it, too."""

    def __init__(self) -> None:
        self._values: dict[tuple[int, float], Tensor] = {}

    def of(self, module: nn.Module, name: str, scale: float) -> Tensor:
        """c * w, in memory of its own."""
        refuse_stored_elsewhere(module, name)
        raw = stored(module, name)
        if (id(raw), scale) not in self._values:
            self._values[id(raw), scale] = raw.detach() * scale
        return self._values[id(raw), scale]


_effective_values: ContextVar[_Effective | None] = ContextVar("_effective_values", default=None)


@contextmanager
def effective_values() -> Iterator[None]:
    """Inside, `state_dict()` has the effective values under the plain names."""
    token = _effective_values.set(_Effective())
    try:
        yield
    finally:
        _effective_values.reset(token)


class EffectiveState(nn.Module):
    """Gives effective values a way in, and the constants a way along with the stored ones."""

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """`layer.weight = Parameter(...)`: an effective weight, divided by c and stored."""
        scales = scales_of(self)
        plain = name if name in scales else name.removesuffix(stored_name(""))
        if plain in scales and is_dtensor(param) and not is_dtensor(stored(self, plain)):
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
        slot = Slot("", self, name)
        refuse_stored_elsewhere(self, name)
        refuse_assignment(param, slot)
        refuse_overflow(str(slot), largest(param), scale, param.dtype)
        raw = stored(self, name)
        with torch.no_grad():
            value = param / scale
            if (value.shape, value.dtype, value.device) == (raw.shape, raw.dtype, raw.device):
                raw.copy_(value)
            else:
                raw.data = value
            raw.grad = None if param.grad is None else param.grad * scale
        raw.requires_grad_(param.requires_grad)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        before = len(destination)
        super()._save_to_state_dict(destination, prefix, keep_vars)
        scales, effective = scales_of(self), _effective_values.get()
        if effective is not None:
            plain = {prefix + stored_name(name): name for name in scales}
            for key in list(destination)[before:]:  # all of them, so that the order stays
                value, name = destination.pop(key), plain.get(key)
                if name is None:
                    destination[key] = value
                else:
                    destination[prefix + name] = effective.of(self, name, scales[name])
            return
        metadata = getattr(destination, "_metadata", None)
        if metadata is not None:
            own = metadata.setdefault(prefix[:-1], {})
            own[METADATA] = {"version": VERSION, "scales": dict(scales)}

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Tensor],
        prefix: str,
        local_metadata: dict[str, Any],
        *rest: Any,
    ) -> None:
        # What was saved is the function: numbers stored under another constant are converted.
        here, errors = scales_of(self), rest[-1]
        saved = {**here, **local_metadata.get(METADATA, {}).get("scales", {})}
        for name, scale in saved.items():
            plain, raw = prefix + name, prefix + stored_name(name)
            if plain in state_dict and raw in state_dict:
                errors.append(str(AmbiguousState(plain, raw)))
                del state_dict[plain]
            elif plain in state_dict or raw in state_dict:
                key, factor = (raw, scale) if raw in state_dict else (plain, 1.0)
                value, divisor = state_dict.pop(key), here.get(name, 1.0) / factor
                own = raw if name in here else plain
                if divisor != 1.0 and isinstance(value, Tensor):
                    held = self._parameters.get(own.removeprefix(prefix))
                    if held is None or local_metadata.get("assign_to_params_buffers"):
                        dtype = value.dtype
                    else:
                        dtype = held.dtype
                    try:
                        refuse_overflow(f"'{key}'", largest(value), divisor, dtype)
                    except Unscalable as error:
                        errors.append(str(error))
                    # in the wider of both dtypes, so that it is rounded once
                    value = value.to(torch.promote_types(value.dtype, dtype)) / divisor
                state_dict[own] = value
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)
