"""The class of an equalized layer, and how a layer becomes one and ceases to be one."""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from equalized_lr.errors import NotAssignable, NotConvertible, WrappedOnTop
from equalized_lr.layer.hook import (
    add_hook,
    drop_hook,
    find_hook,
    hook_of,
    reader,
    reads_once,
    scales_of,
    stored,
    stored_name,
)
from equalized_lr.layer.state_dict import EffectiveState
from equalized_lr.plan.checks import refuse_stored_elsewhere

# Note [One class per kind of layer]
# A class per instance could not be pickled, would leak, and would make torch.compile treat
# identical blocks as different. So there is one per class and names. Both are held weakly: the
# classes live as long as the layers.
_Variants = weakref.WeakValueDictionary[tuple[str, ...], type[nn.Module]]
_classes: weakref.WeakKeyDictionary[type[nn.Module], _Variants] = weakref.WeakKeyDictionary()


class Equalized(EffectiveState):
    """What an equalized layer does in other ways than the layer that it was."""

    _plain_class: type[nn.Module]
    _reads_once: bool

    def __init_subclass__(cls) -> None:
        """Keeps the class from the layer's own `__init_subclass__`, which may keep registers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """`type(layer)(...)`, as code that copies layers calls it, builds a plain layer."""
        plain = self._plain_class
        _set_class(self, plain)
        plain.__init__(self, *args, **kwargs)

    def extra_repr(self) -> str:
        """The layer's own, and c; the range of them if there are several."""
        hook = find_hook(self)
        scales = sorted(set(hook.scales.values())) if hook else []
        spoken = " to ".join(f"{scale:.3g}" for scale in dict.fromkeys((*scales[:1], *scales[-1:])))
        return ", ".join(filter(None, (super().extra_repr(), spoken and f"c={spoken}")))

    def __prepare_scriptable__(self) -> nn.Module:
        """Called by torch.jit.script before it compiles what it cannot read."""
        raise NotConvertible(type(self).__name__, "torch.jit.script")

    @property
    def qconfig(self) -> Any:
        """What torch.ao.quantization sets on every layer before it looks for exact classes."""
        raise AttributeError("qconfig")

    @qconfig.setter
    def qconfig(self, config: object) -> None:
        raise NotConvertible(type(self).__name__, "torch.ao.quantization")

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickles by the plain class and the names, since the class itself has no address."""
        equalized = type(self)
        reduced: Any = super().__reduce_ex__(protocol)
        function, args, state, *items = (*reduced, None)[: max(3, len(reduced))]
        if "_plain_class" not in vars(equalized) or state is None:
            return reduced  # the class is another's, or the layer is to be built anew
        plain = tuple(self._plain_class if arg is equalized else arg for arg in args)
        names = tuple(scales_of(self))
        return _rebuild, (self._plain_class, names, function, plain), state, *items


def _rebuild(
    plain: type[nn.Module],
    names: tuple[str, ...],
    function: Callable[..., nn.Module],
    args: tuple[Any, ...],
) -> nn.Module:
    module = function(*args)
    _set_class(module, equalized_class(plain, names))
    return module


def equalized_class(plain: type[nn.Module], names: tuple[str, ...]) -> type[nn.Module]:
    """The subclass of a layer's class in which these parameters are computed at each read."""
    variants = _classes.get(plain)
    if variants is None:
        variants = _classes[plain] = weakref.WeakValueDictionary()
    found = variants.get(names)
    if found is not None:
        return found
    body: dict[str, Any] = {key: getattr(plain, key) for key in ("__module__", "__qualname__")}
    body |= {"__doc__": plain.__doc__, "_plain_class": plain, "_reads_once": reads_once(plain)}
    body |= {name: _effective(name) for name in names}
    for method in ("reset_parameters", "_reset_parameters"):
        if hasattr(plain, method):
            body[method] = _on_plain_weights(getattr(plain, method))
    if issubclass(plain, nn.RNNBase):
        body["_flat_weights"] = property(_flat_weights, _forget_flat_weights)
    bases = (Equalized, plain)
    made: type[nn.Module] = types.new_class(plain.__name__, bases, {}, lambda ns: ns.update(body))
    return variants.setdefault(names, made)


def _effective(name: str) -> property:
    def refuse(module: nn.Module, value: object) -> None:
        raise NotAssignable(name, f"a {type(value).__name__}")

    def refuse_deletion(module: nn.Module) -> None:
        raise NotAssignable(name, "nothing (by del)")

    return property(
        reader(name), refuse, refuse_deletion, f"The effective {name}, c * {name}_orig."
    )


# RNNs keep a list of their weights between forwards. Computed weights must not be kept, so the
# list is computed too, and what torch writes into it is dropped.
def _flat_weights(module: nn.RNNBase) -> list[Tensor | None]:
    return [getattr(module, name, None) for name in module._flat_weights_names]


def _forget_flat_weights(module: nn.RNNBase, value: object) -> None:
    """Takes torch's list of weights and drops it."""


def _on_plain_weights(method: Callable[..., Any]) -> Callable[..., Any]:
    def reset(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        with plain_weights(self):
            return method(self, *args, **kwargs)

    reset.__doc__ = method.__doc__
    return reset


@contextmanager
def plain_weights(root: nn.Module) -> Iterator[None]:
    """Inside, a module and its descendants are plain, for code that writes into weights."""
    layers = [(module, dict(scales_of(module))) for module in root.modules() if scales_of(module)]
    for module, named in layers:
        for name in named:
            refuse_stored_elsewhere(module, name)
    kinds = [type(module) for module, _ in layers]
    with torch.no_grad():
        for raw, scale in _by_parameter(layers).items():
            raw.mul_(scale)
    for module, named in layers:
        _set_class(module, _plain_kind(type(module)))
        for name in named:
            _rename(module._parameters, stored_name(name), name)
        if isinstance(module, nn.RNNBase):
            module._init_flat_weights()
    try:
        yield
    finally:
        for (module, named), kind in zip(layers, kinds, strict=True):
            for name in named:
                _rename(module._parameters, name, stored_name(name))
            _set_class(module, kind)
            module.__dict__.pop("_flat_weights", None)
        with torch.no_grad():
            for raw, scale in _by_parameter(layers).items():
                raw.div_(scale)


def _plain_kind(kind: type[nn.Module]) -> type[nn.Module]:
    """The plain class; of one derived from an equalized class, as FSDP's, a plain counterpart."""
    if "_plain_class" in vars(kind):
        return cast(type[Equalized], kind)._plain_class
    bases = [_plain_kind(base) if issubclass(base, Equalized) else base for base in kind.__bases__]
    body = {k: v for k, v in vars(kind).items() if k not in ("__dict__", "__weakref__")}
    made: type[nn.Module] = types.new_class(
        kind.__name__, tuple(bases), {}, lambda namespace: namespace.update(body)
    )
    return made


def _by_parameter(layers: list[tuple[nn.Module, dict[str, float]]]) -> dict[Tensor, float]:
    return {
        stored(module, stored_name(name)): c
        for module, named in layers
        for name, c in named.items()
    }


def attach(module: nn.Module, name: str, scale: float) -> None:
    """Renames the Parameter in place and lets the layer compute `name` from it; values stay."""
    plain = type(module)._plain_class if isinstance(module, Equalized) else type(module)
    scales = {**scales_of(module), name: scale}
    _set_class(module, equalized_class(plain, tuple(scales)))
    _rename(module._parameters, name, stored_name(name))
    if find_hook(module):
        hook_of(module).scales = scales
    else:
        add_hook(module, scales, once=cast(type[Equalized], type(module))._reads_once)
        module.__dict__.pop("_flat_weights", None)


def detach(module: nn.Module, name: str) -> None:
    """The reverse of `attach`."""
    assert isinstance(module, Equalized)
    plain, scales = module._plain_class, dict(scales_of(module))
    del scales[name]
    _set_class(module, equalized_class(plain, tuple(scales)) if scales else plain)
    _rename(module._parameters, stored_name(name), name)
    if scales:
        hook_of(module).scales = scales
        return
    drop_hook(module)
    if isinstance(module, nn.RNNBase):
        module._init_flat_weights()


def refuse_if_wrapped_on_top(module: nn.Module, name: str, where: str | None = None) -> None:
    """Raises `WrappedOnTop` unless `detach` would give back what `attach` found."""
    kind = type(module)
    if "_plain_class" not in vars(kind):
        place = where or f"'{name}' of this {kind.__name__}"
        raise WrappedOnTop(place, f"the class {kind.__name__}, which was derived from it,")
    refuse_stored_elsewhere(module, name, where)


def _rename(parameters: dict[str, Any], old: str, new: str) -> None:
    # In place, since the dict is shared with data-parallel replicas and shallow copies.
    items = [(new if key == old else key, value) for key, value in parameters.items()]
    parameters.clear()
    parameters.update(items)


def _set_class(module: nn.Module, kind: type[nn.Module]) -> None:
    object.__setattr__(module, "__class__", kind)
