"""`EqualizedLR`, the forward pre-hook, and the property through which a weight is read."""

from __future__ import annotations

import sys
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.fx._symbolic_trace import is_fx_symbolic_tracing

from equalized_lr.errors import HookLost
from equalized_lr.window import Window, current_cache

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
    them; outside of a forward nothing that was computed is kept.

    Attributes:
        scales: for each equalized parameter of the layer, by its plain name, its constant c.
        window: the forward that runs now, or None.
    """

    __slots__ = ("scales", "window")

    def __init__(self, scales: dict[str, float]) -> None:
        self.scales = scales
        self.window: Window | None = None

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Opens a forward: what the last one computed is void."""
        if not torch.compiler.is_dynamo_compiling():
            self.window = Window(sys._getframe(1))

    def __getstate__(self) -> dict[str, float]:
        return self.scales

    def __setstate__(self, scales: dict[str, float]) -> None:
        self.scales = scales
        self.window = None

    def __repr__(self) -> str:
        scales = ", ".join(f"{name}: c={scale:.6g}" for name, scale in self.scales.items())
        return f"EqualizedLR({scales})"


def end_forward(module: nn.Module, args: object, output: object) -> None:
    """The forward hook, called after exceptions too, which lets go of what was computed."""
    hook = find_hook(module)
    if hook is not None and not torch.compiler.is_dynamo_compiling():
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


def add_hook(module: nn.Module, scales: dict[str, float]) -> None:
    """Puts the two hooks of an equalized layer on a module."""
    # See Note [One key for all hooks]; torch's own registration would draw a number.
    module._forward_pre_hooks[KEY] = EqualizedLR(scales)
    module._forward_hooks[KEY] = end_forward
    module._forward_hooks_always_called[KEY] = True


def drop_hook(module: nn.Module) -> None:
    """Takes the two hooks off again, as far as nobody else did."""
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


def stored(module: nn.Module, name: str) -> Tensor:
    """The stored tensor behind an equalized weight."""
    raw = module._parameters.get(stored_name(name))
    # Data-parallel replicas and FSDP hold it as an attribute, torch's parametrize as a property.
    return cast(Tensor, getattr(module, stored_name(name))) if raw is None else raw


def read(module: nn.Module, name: str) -> Tensor:
    """The effective weight c * w, as it is now."""
    hook = hook_of(module)
    scale = hook.scales[name]
    if torch.compiler.is_dynamo_compiling():
        return stored(module, name) * scale
    if is_fx_symbolic_tracing():  # which sees only what is looked up with getattr
        return cast(Tensor, getattr(module, stored_name(name)) * scale)
    raw = stored(module, name)
    # See Note [A window is a frame]; one look only, since another thread may close it meanwhile.
    held = current_cache() or hook.window
    return raw * scale if held is None else held.read(name, raw, scale)
