"""`EqualizedLR`, the forward pre-hook, and the property through which a weight is read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, cast

from torch import Tensor, mul, nn
from torch.compiler import is_dynamo_compiling

from equalized_lr.errors import HookLost
from equalized_lr.layer.caching import Window, current_cache
from equalized_lr.optional import is_fx_symbolic_tracing

# Note [One key for all hooks]
# torch numbers hooks with a global counter. Compiled code is guarded on those numbers, so identical
# blocks would each be compiled anew, and in an unpickled model a new hook could get the number of
# an old one and replace it. Ours have one number everywhere, one that torch never gives out.
KEY = -1


def stored_name(name: str) -> str:
    """The name of the stored parameter behind an equalized weight."""
    return f"{name}_orig"


class EqualizedLR:
    """The forward pre-hook of an equalized layer.

    Invariant: at every read `layer.<name>` is `scales[name] * layer.<name>_orig`, differentiable.
    Between a forward's beginning and its end all reads give one tensor, computed at the first of
    them (but see Note [Layers that read once]); outside of a forward nothing that was computed is
    kept.

    Attributes:
        scales: for each equalized parameter of the layer, by its plain name, its constant c.
        window: the forward that runs now, or None.
    """

    def __init__(self, scales: dict[str, float]) -> None:
        self.scales = scales
        self.window: Window | None = None

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Opens a forward: what the last one computed is void."""
        if not is_dynamo_compiling():
            self.window = Window(sys._getframe(1))

    def __getstate__(self) -> dict[str, float]:
        return self.scales

    def __setstate__(self, scales: dict[str, float]) -> None:
        self.scales = scales
        self.window = None

    def __repr__(self) -> str:
        scales = ", ".join(f"{name}: c={scale:.6g}" for name, scale in self.scales.items())
        return f"EqualizedLR({scales})"


class EqualizedOnce(EqualizedLR):
    """The hook of a layer whose forward reads each weight once: there is nothing to share.

    Note [Layers that read once]: torch's Linear, Bilinear and convolutions read their weight at one
    place. Each read computes c * w there as everywhere, and a window, which would make several
    reads of one forward one, costs more than it could save: two thirds of all that equalizing adds
    to a small layer. So these layers have a hook that holds the constants and does nothing.
    """

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Does nothing."""


_READ_ONCE = (
    *(nn.Linear, nn.Bilinear, nn.Embedding, nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(nn.RNNCell, nn.LSTMCell, nn.GRUCell),
)
_COMPUTES = ("forward", "_conv_forward")


def reads_once(kind: type[nn.Module]) -> bool:
    """Whether a class computes as one of torch's own that read once; a subclass may not."""
    return any(
        all(getattr(kind, key, None) is getattr(known, key, None) for key in _COMPUTES)
        for known in _READ_ONCE
    )


def end_forward(module: nn.Module, args: object, output: object) -> None:
    """The forward hook, called after exceptions too, which lets go of what was computed."""
    hook = find_hook(module)
    if hook is not None and not is_dynamo_compiling():
        hook.window = None


def find_hook(module: nn.Module) -> EqualizedLR | None:
    """The hook of an equalized module, None for others."""
    return cast("EqualizedLR | None", module._forward_pre_hooks.get(KEY))


def hook_of(module: nn.Module) -> EqualizedLR:
    """The hook of a module known to be equalized."""
    try:
        return cast(EqualizedLR, module._forward_pre_hooks[KEY])
    except KeyError:
        raise HookLost(type(module).__name__) from None


def add_hook(module: nn.Module, scales: dict[str, float], *, once: bool) -> None:
    """Puts the hook of an equalized layer on a module, and one that closes its window."""
    # See Note [One key for all hooks]; torch's own registration would draw a number.
    if once:
        module._forward_pre_hooks[KEY] = EqualizedOnce(scales)
        return
    module._forward_pre_hooks[KEY] = EqualizedLR(scales)
    module._forward_hooks[KEY] = end_forward
    module._forward_hooks_always_called[KEY] = True


def drop_hook(module: nn.Module) -> None:
    """Takes the hooks off again, as far as nobody else did."""
    for hooks in (
        module._forward_pre_hooks,
        module._forward_hooks,
        module._forward_hooks_always_called,
    ):
        cast(dict[int, object], hooks).pop(KEY, None)


def scales_of(module: nn.Module) -> dict[str, float]:
    """The constants of a module's own equalized parameters, by plain name; {} if it has none."""
    if not hasattr(type(module), "_plain_class"):
        return {}
    return hook_of(module).scales


def plain_names(module: nn.Module) -> list[str]:
    """The names of a module's own parameters in their order, equalized ones by their plain name."""
    plain = {stored_name(name): name for name in scales_of(module)}
    own = [plain.get(name, name) for name in module._parameters]
    return own + [name for name in scales_of(module) if name not in own]


def plain_parameters(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """A module's own parameters by their plain names, equalized ones as they are stored."""
    equalized = scales_of(module)
    for name in plain_names(module):
        held = module._parameters.get(name)
        tensor = stored(module, stored_name(name)) if name in equalized else held
        if tensor is not None:
            yield name, tensor


def stored(module: nn.Module, key: str) -> Tensor:
    """The stored tensor by its own name, `weight_orig`."""
    raw = module._parameters.get(key)
    # Data-parallel replicas and FSDP hold it as an attribute, torch's parametrize as a property.
    return cast(Tensor, getattr(module, key)) if raw is None else raw


def reader(name: str) -> Callable[[nn.Module], Tensor]:
    """The getter of an equalized weight: c * w, as it is now."""
    key = stored_name(name)

    # Every microsecond here is paid by every layer: so no calls where a look-up will do.
    def read(module: nn.Module) -> Tensor:
        hook: Any = module._forward_pre_hooks.get(KEY)
        if hook is None:
            raise HookLost(type(module).__name__)
        scale: float = hook.scales[name]
        raw: Tensor | None = module._parameters.get(key)
        if raw is None:
            raw = stored(module, key)
        if is_dynamo_compiling():
            return raw * scale
        if is_fx_symbolic_tracing():
            # torch.fx sees what is looked up with getattr, and takes the rest as constant.
            return cast(Tensor, getattr(module, key) * scale)
        # See Note [A window is a frame]; one look only, as another thread may close it meanwhile.
        held = current_cache() or hook.window
        return mul(raw, scale) if held is None else held.read(name, raw, scale)

    return read
