"""`layer.weight = ...`: what is assigned to an equalized weight becomes the stored one."""

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from equalized_lr.errors import (
    NotAParameter,
    NotAssignable,
    ParallelizeFirst,
    TiedAssignment,
    TiedElsewhere,
    Unscalable,
    WrappedOnTop,
)
from equalized_lr.layer.caching import parameter_behind
from equalized_lr.layer.hook import scales_of, store_all_writes, stored, stored_name
from equalized_lr.tensors import has_overflowed, is_dtensor, module_holding, unscalable_kind


class AssignableWeights(nn.Module):
    """Lets Parameters and weights of other equalized layers be assigned."""

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """`layer.weight = Parameter(...)`: an effective weight, divided by c and stored."""
        scales = scales_of(self)
        plain = name if name in scales else name.removesuffix(stored_name(""))
        if plain in scales and is_dtensor(param) and not is_dtensor(stored(self, plain)):
            raise ParallelizeFirst(plain, type(self).__name__)
        if name not in scales:
            super().register_parameter(name, param)
        elif param is None:
            raise NotAssignable(name, "None")
        elif type(param) is Tensor:  # a weight of an equalized layer, see `remember`
            assign_weight(self, name, param)
        else:
            _assign_parameter(self, name, param)


def _assign_parameter(module: nn.Module, name: str, param: nn.Parameter) -> None:
    scale, place = scales_of(module)[name], f"'{name}' ({type(module).__name__})"
    kind = unscalable_kind(param)
    if kind:
        raise NotAssignable(name, f"a Parameter that is {kind}")
    refuse_wrapped_parameter(module, name)
    store_all_writes(module)
    raw = stored(module, name)
    other = module_holding({id(param), id(raw)}, [module])
    if other:
        error = TiedElsewhere if other.parameter is param else TiedAssignment
        raise error(place, other.kind)
    with torch.no_grad():
        value = param / scale
        if has_overflowed(param, value):
            raise Unscalable(place, scale, str(param.dtype))
        if (value.shape, value.dtype, value.device) == (raw.shape, raw.dtype, raw.device):
            raw.copy_(value)
        else:
            raw.data = value
        raw.grad = None if param.grad is None else param.grad * scale
    raw.requires_grad_(param.requires_grad)


def assign_weight(module: nn.Module, name: str, value: object) -> None:
    """`a.weight = b.weight` of equalized layers ties them, as it does in torch."""
    behind = parameter_behind(value) if isinstance(value, Tensor) else None
    if behind is None:
        raise NotAssignable(name, f"a {type(value).__name__}")
    raw, scale = behind
    if scale != scales_of(module)[name]:
        raise NotAssignable(name, f"a weight with c = {scale:.6g}")
    if raw is not stored(module, name):
        setattr(module, stored_name(name), raw)


def refuse_wrapped_parameter(module: nn.Module, name: str, where: str | None = None) -> None:
    """Raises `WrappedOnTop` if the stored values are no longer a Parameter of the layer."""
    key = stored_name(name)
    if module._parameters.get(key) is None:
        place = where or f"'{name}' of this {type(module).__name__}"
        raise WrappedOnTop(place, f"another reparametrization of '{key}'")


def _refuse_computed(module: nn.Module, name: str, parameter: Tensor | None) -> None:
    if type(parameter) is Tensor and parameter_behind(parameter):
        raise NotAParameter(name, type(module).__name__)


# torch itself refuses computed weights, but not frozen ones, which have no history.
register_module_parameter_registration_hook(_refuse_computed)
