"""The class of an equalized layer, and how a layer becomes one and ceases to be one."""

import functools
import types
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.compiler import is_dynamo_compiling

from equalized_lr.errors import NotAssignable, NotConvertible, NotRebuilt, WrappedOnTop
from equalized_lr.layer.assignment import (
    AssignableWeights,
    assign_weight,
    refuse_wrapped_parameter,
)
from equalized_lr.layer.forward import equalized_forward
from equalized_lr.layer.hook import (
    KEY,
    EqualizedLR,
    find_hook,
    hook_of,
    reader,
    scales_of,
    store_all_writes,
    stored,
    stored_name,
)
from equalized_lr.layer.state_dict import EffectiveState
from equalized_lr.layer.writes import comparing

# Note [One class per kind of layer]
# A class per instance could not be pickled, would leak, and would make torch.compile treat
# identical blocks as different. So there is one per class and names. Both are held weakly: the
# classes live as long as the layers.
_Variants = weakref.WeakValueDictionary[tuple[str, ...], type[nn.Module]]
_classes: weakref.WeakKeyDictionary[type[nn.Module], _Variants] = weakref.WeakKeyDictionary()


class Equalized(EffectiveState, AssignableWeights):
    """What an equalized layer does in other ways than the layer that it was."""

    _plain_class: type[nn.Module]

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

    def apply(self, fn: Callable[[nn.Module], Any]) -> Any:
        """As in torch; what `fn` wrote into the weights is stored when it returns."""
        with comparing():
            result = super().apply(fn)
        store_all_writes(self)
        return result

    def named_modules(self, *args: Any, **kwargs: Any) -> Any:
        """As in torch; `parameters()` of whatever holds the layer comes by here."""
        if not is_dynamo_compiling() and find_hook(self) is not None:
            store_all_writes(self)
        return super().named_modules(*args, **kwargs)

    def _apply(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        store_all_writes(self)
        plain: Any = super()
        return plain._apply(fn, *args, **kwargs)

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
        store_all_writes(self)
        reduced: Any = super().__reduce_ex__(protocol)
        equalized = type(self)
        if "_plain_class" not in vars(equalized):
            return reduced  # the class is another's
        function, args, *rest = reduced
        plain = tuple(self._plain_class if arg is equalized else arg for arg in args)
        is_complete = not any(rest[:1])  # nothing is left to set when `function` returns
        names = tuple(scales_of(self))
        return _rebuild, (self._plain_class, names, is_complete, function, plain), *rest


def _rebuild(
    plain: type[nn.Module],
    names: tuple[str, ...],
    is_complete: bool,
    function: Callable[..., nn.Module],
    args: tuple[Any, ...],
) -> nn.Module:
    module = function(*args)
    if not is_complete:
        _set_class(module, equalized_class(plain, names))
        return module
    hook = find_hook(module)
    if hook is None or tuple(hook.scales) != names:
        raise NotRebuilt(plain.__name__)
    # A layer that carries its own source is rebuilt as another class of the same name.
    if not isinstance(module, Equalized):
        _set_class(module, equalized_class(type(module), names))
    return module


def equalized_class(plain: type[nn.Module], names: tuple[str, ...]) -> type[nn.Module]:
    """The subclass of a layer's class in which these parameters are computed at each read."""
    variants = _classes.get(plain)
    if variants is None:
        variants = _classes[plain] = weakref.WeakValueDictionary()
    known = variants.get(names)
    if known is not None:
        return known
    body: dict[str, Any] = {key: getattr(plain, key) for key in ("__module__", "__qualname__")}
    body |= {
        "__doc__": plain.__doc__,
        "_plain_class": plain,
        "forward": equalized_forward(plain, names),
    }
    body |= {name: _effective_property(name) for name in names}
    for method in ("reset_parameters", "_reset_parameters"):
        if hasattr(plain, method):
            body[method] = _on_plain_weights(getattr(plain, method))
    if issubclass(plain, nn.RNNBase):
        body["_flat_weights"] = property(_flat_weights, _drop_flat_weights)
    bases = (Equalized, plain)
    kind: type[nn.Module] = types.new_class(plain.__name__, bases, {}, lambda ns: ns.update(body))
    return variants.setdefault(names, kind)


def _effective_property(name: str) -> property:
    def assign(module: nn.Module, value: object) -> None:
        assign_weight(module, name, value)

    def refuse_deletion(module: nn.Module) -> None:
        raise NotAssignable(name, "nothing (by del)")

    return property(
        reader(name), assign, refuse_deletion, f"The effective {name}, c * {name}_orig."
    )


# RNNs keep a list of their weights between forwards. Computed weights must not be kept, so the
# list is computed too, and what torch writes into it is dropped.
def _flat_weights(module: nn.RNNBase) -> list[Tensor | None]:
    return [getattr(module, name, None) for name in module._flat_weights_names]


def _drop_flat_weights(module: nn.RNNBase, value: object) -> None:
    """Takes torch's list of weights and drops it."""


def _on_plain_weights(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def reset(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        with plain_weights(self):
            return method(self, *args, **kwargs)

    return reset


@contextmanager
def plain_weights(root: nn.Module) -> Iterator[None]:
    """Inside, a module and its descendants are plain, for code that writes into weights."""
    layers = [(module, dict(scales_of(module))) for module in root.modules() if scales_of(module)]
    for module, scales in layers:
        store_all_writes(module)
        for name in scales:
            refuse_wrapped_parameter(module, name)
    kinds = [type(module) for module, _ in layers]
    with torch.no_grad():
        for raw, scale in _by_parameter(layers).items():
            raw.mul_(scale)
    for module, scales in layers:
        _set_class(module, cast(type[Equalized], type(module))._plain_class)
        for name in scales:
            _rename(module._parameters, stored_name(name), name)
        if isinstance(module, nn.RNNBase):
            module._init_flat_weights()
    try:
        yield
    finally:
        for (module, scales), kind in zip(layers, kinds, strict=True):
            for name in scales:
                _rename(module._parameters, name, stored_name(name))
            _set_class(module, kind)
            module.__dict__.pop("_flat_weights", None)
        with torch.no_grad():
            for raw, scale in _by_parameter(layers).items():
                raw.div_(scale)


def _by_parameter(layers: list[tuple[nn.Module, dict[str, float]]]) -> dict[Tensor, float]:
    return {stored(module, name): c for module, scales in layers for name, c in scales.items()}


def attach(module: nn.Module, name: str, scale: float) -> None:
    """Renames the Parameter in place and lets the layer compute `name` from it; values stay."""
    plain = type(module)._plain_class if isinstance(module, Equalized) else type(module)
    scales = {**scales_of(module), name: scale}
    _set_class(module, equalized_class(plain, tuple(scales)))
    _rename(module._parameters, name, stored_name(name))
    hooks: Any = module._forward_pre_hooks
    hooks.setdefault(KEY, EqualizedLR(scales)).scales = scales
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
    module._forward_pre_hooks.pop(KEY, None)
    if isinstance(module, nn.RNNBase):
        module._init_flat_weights()


def refuse_wrapped_on_top(module: nn.Module, name: str, where: str) -> None:
    """Raises `WrappedOnTop` unless `detach` would give back what `attach` took."""
    kind = type(module)
    if "_plain_class" not in vars(kind):
        raise WrappedOnTop(where, f"the class {kind.__name__}, which was derived from it,")
    refuse_wrapped_parameter(module, name, where)


def _rename(parameters: dict[str, Any], old: str, new: str) -> None:
    # In place, since the dict is shared with data-parallel replicas and shallow copies.
    items = [(new if key == old else key, value) for key, value in parameters.items()]
    parameters.clear()
    parameters.update(items)


def _set_class(module: nn.Module, kind: type[nn.Module]) -> None:
    object.__setattr__(module, "__class__", kind)
