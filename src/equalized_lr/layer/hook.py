"""`EqualizedLR`, the forward pre-hook, and the properties through which weights are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn
from torch.compiler import is_dynamo_compiling

from equalized_lr.errors import HookLost
from equalized_lr.layer import writes
from equalized_lr.layer.caching import effective, is_plain_read, store_writes
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
    What was written into a weight that was read before is stored before a forward begins.

    Attributes:
        scales: for each equalized parameter of the layer, by its plain name, its constant c.
    """

    def __init__(self, scales: dict[str, float]) -> None:
        self.scales = scales

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Stores what was written, so that other hooks and the forward find it."""
        if not is_dynamo_compiling() and writes.remembered:
            store_all_writes(module)

    def __getstate__(self) -> dict[str, float]:
        return self.scales

    def __setstate__(self, scales: dict[str, float]) -> None:
        self.scales = scales

    def __repr__(self) -> str:
        scales = ", ".join(f"{name}: c={scale:.6g}" for name, scale in self.scales.items())
        return f"{type(self).__name__}({scales})"


def find_hook(module: nn.Module) -> EqualizedLR | None:
    """The hook of an equalized module, None for others."""
    return cast("EqualizedLR | None", module._forward_pre_hooks.get(KEY))


def hook_of(module: nn.Module) -> EqualizedLR:
    """The hook of a module known to be equalized."""
    hook = find_hook(module)
    if hook is None:
        raise HookLost(type(module).__name__)
    return hook


def scales_of(module: nn.Module) -> dict[str, float]:
    """The constants of a module's own equalized parameters, by plain name; {} if it has none."""
    if not hasattr(type(module), "_plain_class"):
        return {}
    return hook_of(module).scales


def stored(module: nn.Module, name: str) -> Tensor:
    """The tensor behind an equalized weight, by the weight's plain name."""
    # Data-parallel replicas and FSDP hold it as an attribute, torch's parametrize as a property.
    return cast(Tensor, getattr(module, stored_name(name)))


def store_all_writes(module: nn.Module) -> None:
    """Takes what was written into a module's own weights into its stored parameters.

    Raises:
        StaleWrite: a stored parameter has changed since the weight was read.
        Unscalable: the values divided by c do not fit into the parameter's dtype.
    """
    for name in () if is_plain_read() else scales_of(module):
        raw = module._parameters.get(stored_name(name))
        if raw is not None:
            store_writes(raw)


def reader(name: str) -> Callable[[nn.Module], Tensor]:
    """A function that computes an equalized weight of this plain name, c * w, as it is now."""
    key = stored_name(name)

    # Every microsecond here is paid by every layer: so no calls where a look-up will do.
    def read(module: nn.Module) -> Tensor:
        hook: Any = module._forward_pre_hooks.get(KEY)
        if hook is None:
            raise HookLost(type(module).__name__)
        scale: float = hook.scales[name]
        raw: Tensor | None = module._parameters.get(key)
        if raw is None:
            raw = stored(module, name)
        if is_dynamo_compiling():
            return raw * scale
        if is_fx_symbolic_tracing():
            # torch.fx sees what is looked up with getattr, and takes the rest as constant.
            return cast(Tensor, getattr(module, key) * scale)
        return effective(raw, scale)

    return read
