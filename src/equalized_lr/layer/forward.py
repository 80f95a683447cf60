"""The forward of an equalized layer, in which each weight is computed once."""

import functools
from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, mul, nn
from torch.compiler import is_dynamo_compiling
from torch.nn import functional

from equalized_lr.layer.caching import effective, is_plain_read, sharing
from equalized_lr.layer.hook import KEY, stored, stored_name
from equalized_lr.optional import is_fx_symbolic_tracing


def _linear(layer: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002
    return functional.linear(input, weight, bias)


def _convolution(layer: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002
    return cast(Tensor, layer._conv_forward(input, weight, bias))


def _transposed(name: str) -> Callable[..., Tensor]:
    def compute(layer: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002
        if layer.padding_mode != "zeros":
            return cast(Tensor, layer._plain_class.forward(layer, input))  # which refuses it
        # Looked up in each forward, as torch does it, since profilers replace it.
        convolution: Callable[..., Tensor] = getattr(functional, name)
        padding = layer.padding, layer.output_padding
        return convolution(
            input, weight, bias, layer.stride, *padding, layer.groups, layer.dilation
        )

    return compute


# Note [Layers that read once]: torch's Linear and convolutions read their parameters at one place,
# so there is nothing to share, and a cache would cost more than all the rest of a small layer.
_READ_ONCE: dict[Any, Callable[..., Tensor]] = {
    nn.Linear.forward: _linear,
    **dict.fromkeys([kind.forward for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d)], _convolution),
    nn.ConvTranspose1d.forward: _transposed("conv_transpose1d"),
    nn.ConvTranspose2d.forward: _transposed("conv_transpose2d"),
    nn.ConvTranspose3d.forward: _transposed("conv_transpose3d"),
}
# What the forwards of convolutions call; a subclass may have another.
_CALLED = ("_conv_forward", "_output_padding")
_TORCHS_OWN = {None} | {
    getattr(kind, name, None)
    for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d)
    for name in _CALLED
}


def equalized_forward(plain: type[nn.Module], names: tuple[str, ...]) -> Callable[..., Any]:
    """The forward of a class, for layers of which these parameters are equalized."""
    own = plain.forward
    general = sharing(plain)
    compute = _READ_ONCE.get(own)
    if compute is None or {getattr(plain, name, None) for name in _CALLED} - _TORCHS_OWN:
        return general
    weight, bias = (_stored_or_plain(name, name in names) for name in ("weight", "bias"))

    # Every microsecond here is paid by every layer.
    @functools.wraps(own)
    def forward(self: nn.Module, input: Tensor, *rest: Any, **more: Any) -> Any:  # noqa: A002
        hook: Any = self._forward_pre_hooks.get(KEY)
        if is_dynamo_compiling() or is_fx_symbolic_tracing() or rest or more:
            return general(self, input, *rest, **more)
        # Somebody has replaced it since, or has kept it over a removal, as accelerate does; or has
        # derived a class, which may have other weights.
        if hook is None or plain.forward is not own or "forward" not in vars(type(self)):
            return general(self, input)
        return compute(self, input, weight(self, hook.scales), bias(self, hook.scales))

    return forward


def _stored_or_plain(name: str, is_equalized: bool) -> Callable[..., Any]:
    key = stored_name(name)

    def computed(layer: nn.Module, scales: dict[str, float]) -> Tensor:
        raw: Tensor | None = layer._parameters.get(key)
        if raw is None:
            raw = stored(layer, name)
        return mul(raw, scales[name]) if is_plain_read() else effective(raw, scales[name])

    def plain(layer: nn.Module, scales: dict[str, float]) -> Any:
        value = layer._parameters.get(name)
        # An attribute of the same name comes before a Parameter.
        return getattr(layer, name) if value is None or name in layer.__dict__ else value

    return computed if is_equalized else plain
