"""What an equalized layer loads: its own files, under whatever scales, and plain ones."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from equalized_lr.errors import (
    AmbiguousState,
    ForeignState,
    OtherScale,
    UnknownVersion,
    Unscalable,
    UnsupportedWeight,
)
from equalized_lr.layer.hook import KEY, scales_of, store_all_writes, stored_name
from equalized_lr.tensors import has_overflowed

METADATA = "equalized_lr"
VERSION = 1


class LoadableState(nn.Module):
    """Loads stored values and effective ones; see Note [A layer's own save and load code]."""

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        *rest: Any,
    ) -> None:
        store_all_writes(self)  # what was written before must not come after what is loaded
        errors: list[str] = rest[-1]
        loading = _Loading(self, state_dict, prefix, local_metadata, errors)
        if not loading.is_understood():
            return
        hooks: Any = self._load_state_dict_pre_hooks
        if not hooks and not _loads_its_own_way(self):
            loading.to_stored(state_dict)
            super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)
            return
        loading.to_plain()
        hooks[KEY] = lambda state, *_: loading.to_stored(state)  # after the layer's own
        try:
            super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)
        finally:
            hooks.pop(KEY)


def _loads_its_own_way(layer: nn.Module) -> bool:
    plain: Any = layer
    return plain._plain_class._load_from_state_dict is not nn.Module._load_from_state_dict


@dataclass
class _Loading:
    """One state_dict on its way into one layer."""

    layer: nn.Module
    state: dict[str, Any]
    prefix: str
    metadata: dict[str, Any]
    errors: list[str]
    exact: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        own = self.metadata.get(METADATA)
        self.here, self.is_signed = scales_of(self.layer), own is not None
        self.version = own.get("version") if own else VERSION
        # What was saved is the function: numbers stored under another scale are converted.
        self.saved: dict[str, float] = {**self.here, **(own.get("scales", {}) if own else {})}

    def is_understood(self) -> bool:
        """Whether it is clear what each entry is; if not, the reason is among the errors."""
        if self.version not in range(1, VERSION + 1):
            where = f"'{self.prefix[:-1]}'" if self.prefix else f"this {type(self.layer).__name__}"
            self.errors.append(str(UnknownVersion(where, self.version, VERSION)))
            return False
        for name, scale in self.saved.items():
            plain, raw = self.prefix + name, self.prefix + stored_name(name)
            refusal: Exception | None = None
            if plain in self.state and raw in self.state:
                refusal = AmbiguousState(plain, raw)
            elif raw in self.state and not self.is_signed and "version" in self.metadata:
                # torch's modules sign what they save; this one did not sign as one of ours.
                refusal = ForeignState(raw, plain)
            elif self._is_reparametrized(name) and scale != self.here[name]:
                refusal = OtherScale(raw, scale, self.here[name])
            if refusal:
                self.errors.append(str(refusal))
                return False
        return True

    def _is_reparametrized(self, name: str) -> bool:
        return name in self.here and self.layer._parameters.get(stored_name(name)) is None

    def to_plain(self) -> None:
        """Shows effective values under plain names, and keeps the stored ones."""
        for name, scale in self.saved.items():
            value = self.state.get(self.prefix + stored_name(name))
            if isinstance(value, Tensor):
                del self.state[self.prefix + stored_name(name)]
                effective = self._scaled(name, value, 1 / scale)
                self.state[self.prefix + name] = effective
                self.exact[name] = effective, value

    def to_stored(self, state: dict[str, Any]) -> None:
        """Puts stored values of this layer's scales under stored names."""
        for name, scale in self.saved.items():
            plain, raw = self.prefix + name, self.prefix + stored_name(name)
            key = raw if raw in state else plain
            if key not in state:
                continue
            value = state.pop(key)
            effective, exact = self.exact.get(name, (None, None))
            is_stored = key == raw or value is effective
            divisor = self.here.get(name, 1.0) / (scale if is_stored else 1.0)
            value = exact if value is effective and exact is not None else value
            if divisor != 1.0 and isinstance(value, Tensor) and not value.is_quantized:
                value = self._divided(key, name, value, divisor)
            state[raw if name in self.here else plain] = value

    def _divided(self, key: str, name: str, value: Tensor, divisor: float) -> Any:
        """The quotient; where there is none, an error, and the value that the layer has."""
        try:
            quotient = self._scaled(name, value, divisor)
            if not has_overflowed(value.to(quotient.dtype), quotient):
                return quotient
            refusal: Exception = Unscalable(f"'{key}'", divisor, str(quotient.dtype))
        except (RuntimeError, NotImplementedError, TypeError):
            kind = f"a {type(value).__name__} that cannot be divided by c"
            refusal = UnsupportedWeight(f"'{key}'", kind)
        self.errors.append(str(refusal))
        return self._own(name)

    def _own(self, name: str) -> Any:
        return getattr(self.layer, stored_name(name) if name in self.here else name, None)

    def _scaled(self, name: str, value: Tensor, divisor: float) -> Tensor:
        """The quotient in the dtype that it will have, rounded once."""
        like = self._own(name)
        assign = self.metadata.get("assign_to_params_buffers")
        dtype = value.dtype if assign or like is None else like.dtype
        wide = torch.float32 if value.itemsize == 1 else torch.promote_types(value.dtype, dtype)
        return (value.detach().to(wide) / divisor).to(dtype)
