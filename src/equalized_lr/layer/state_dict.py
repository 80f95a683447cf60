"""How values come into an equalized layer and leave it: assignment and state_dicts."""

from __future__ import annotations

from contextvars import ContextVar
from itertools import islice
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor

from equalized_lr.errors import (
    AmbiguousState,
    ForeignState,
    NotAssignable,
    ParallelizeFirst,
    UnknownVersion,
    Unscalable,
    WrappedOnTop,
)
from equalized_lr.layer.hook import scales_of, stored, stored_name
from equalized_lr.plan.checks import largest, refuse_overflow, refuse_stored_elsewhere
from equalized_lr.plan.memory import unscalable_kind
from equalized_lr.plan.sharing import Slot, refuse_assignment
from equalized_lr.tensors import is_dtensor

METADATA = "equalized_lr"
VERSION = 1

# Set while `plain_state_dict` runs: what it has computed from what; ties stay one tensor.
_Computed = dict[tuple[Tensor, float], Tensor]
effective_values: ContextVar[_Computed | None] = ContextVar("effective", default=None)


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
        slot = Slot("", self, name)
        refuse_stored_elsewhere(self, name)
        refuse_assignment(param, slot)
        refuse_overflow(str(slot), largest(param), scale, param.dtype)
        raw = stored(self, stored_name(name))
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
        effective = effective_values.get()
        if effective is not None:
            added = list(islice(reversed(destination), len(destination) - before))
            self._make_plain(destination, prefix, added[::-1], effective)
            return
        metadata = getattr(destination, "_metadata", None)
        if metadata is not None:
            own = metadata.setdefault(prefix[:-1], {})
            own[METADATA] = {"version": VERSION, "scales": dict(scales_of(self))}

    def _make_plain(self, state: Any, prefix: str, keys: list[str], effective: _Computed) -> None:
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
            raw, scale = stored(self, stored_name(names[key])), scales_of(self)[names[key]]
            if (raw, scale) not in effective:
                effective[raw, scale] = raw.detach() * scale
            state[prefix + names[key]] = effective[raw, scale]

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Tensor],
        prefix: str,
        local_metadata: dict[str, Any],
        *rest: Any,
    ) -> None:
        # What was saved is the function: numbers stored under another constant are converted.
        _, missing, _, errors = rest
        here, own = scales_of(self), local_metadata.get(METADATA)
        if own is not None and own.get("version") not in range(1, VERSION + 1):
            where = f"'{prefix[:-1]}'" if prefix else f"this {type(self).__name__}"
            errors.append(str(UnknownVersion(where, own.get("version"), VERSION)))
            return
        saved = {**here, **(own["scales"] if own else {})}
        for name, scale in saved.items():
            plain, raw = prefix + name, prefix + stored_name(name)
            given = [key for key in (raw, plain) if key in state_dict]
            if len(given) == 2:
                errors.append(str(AmbiguousState(plain, raw)))
                return
            if given == [raw] and own is None and "version" in local_metadata:
                # torch's modules sign what they save, and this one did not sign as one of ours.
                errors.append(str(ForeignState(raw, plain)))
                return
            if given:
                value = state_dict.pop(given[0])
                divisor = here.get(name, 1.0) / (scale if given == [raw] else 1.0)
                if divisor != 1.0 and isinstance(value, Tensor) and not value.is_quantized:
                    like = getattr(self, stored_name(name) if name in here else name, None)
                    assign = local_metadata.get("assign_to_params_buffers")
                    dtype = value.dtype if assign or like is None else like.dtype
                    value, before = _divided(value, divisor, dtype), value
                    if _has_overflowed(before, value):
                        errors.append(str(Unscalable(f"'{given[0]}'", divisor, str(dtype))))
                        return
                state_dict[raw if name in here else plain] = value
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)
        either = {prefix + stored_name(name): prefix + name for name in here}
        missing[:] = [EitherKey(key, either[key]) if key in either else key for key in missing]


class EitherKey(str):
    """A missing key that torch's strict error shows in both of its forms, and that is the first.

    Whether loading is strict is not known where a layer loads, so it cannot say so by an error.
    """

    __slots__ = ("plain",)
    plain: str

    def __new__(cls, stored: str, plain: str) -> Self:
        """The stored key, which knows the plain one."""
        key = super().__new__(cls, stored)
        key.plain = plain
        return key

    def __format__(self, spec: str) -> str:
        return super().__format__(spec) if spec else f'{self!s}" or "{self.plain}'

    def __reduce__(self) -> tuple[object, ...]:
        return str, (str(self),)


def _divided(value: Tensor, divisor: float, dtype: torch.dtype) -> Tensor:
    """The quotient in this dtype, rounded once."""
    wide = torch.promote_types(value.dtype, dtype)
    return (value.detach().to(wide) / divisor).to(dtype)


def _has_overflowed(before: Tensor, after: Tensor) -> bool:
    if after.is_meta or isinstance(after, FakeTensor):
        return False
    if after.layout is not torch.strided or is_dtensor(after):
        return False
    return not torch.equal(after.isfinite(), before.isfinite())
