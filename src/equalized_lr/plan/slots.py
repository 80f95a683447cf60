"""The one walk over a model: where each Parameter is held, its scale, and its fan."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, SupportsFloat

from torch import Tensor, nn

from equalized_lr.arguments import positive
from equalized_lr.errors import InvalidArgument
from equalized_lr.layer.hook import scales_of, store_all_writes, stored, stored_name
from equalized_lr.plan.fan import Fan, fans

Fans = Mapping[str, Fan | SupportsFloat]


class Slot(NamedTuple):
    """A place where a Parameter is held.

    Attributes:
        path: the module's qualified name, "" for the root.
        module: the module.
        name: the plain name of the Parameter in the module.
        scale: the constant c in force; None for a plain Parameter.
        fan: its connections, where somebody knows them.
    """

    path: str
    module: nn.Module
    name: str
    scale: float | None = None
    fan: Fan | None = None

    @property
    def parameter(self) -> Tensor:
        """The Parameter itself, the stored one if it is equalized."""
        tensor = self.find()
        assert tensor is not None
        return tensor

    def find(self) -> Tensor | None:
        """The Parameter, or None where something else computes the weight of this name."""
        if self.scale is not None:
            store_all_writes(self.module)
        own = _parameters_of(self.module)
        tensor = own.get(self.name)
        if tensor is None:
            tensor = own.get(stored_name(self.name))
        if tensor is None and self.scale is not None:
            return stored(self.module, self.name)
        return tensor

    @property
    def qualified_name(self) -> str:
        """The plain name as `named_parameters` of a plain model gives it."""
        return f"{self.path}.{self.name}" if self.path else self.name

    def __str__(self) -> str:
        return f"'{self.qualified_name}' ({type(self.module).__name__})"


def slots_of(
    root: nn.Module, fans: Fans | None = None, *, every_path: bool = False
) -> Iterator[Slot]:
    """All places of Parameters in a tree of modules, in the order of `named_parameters`.

    Weights that `fans` knows are among them where something else than a Parameter computes them.

    Args:
        root: the tree.
        fans: what is known of some weights by their plain qualified names.
        every_path: whether a module that is held in several places is listed for each.
    """
    known = _checked_fans(root, fans)
    for path, module in root.named_modules(remove_duplicate=not every_path):
        yield from _slots_of_module(path, module, known)


def _slots_of_module(path: str, module: nn.Module, known: Mapping[str, Fan]) -> Iterator[Slot]:
    scales, table = scales_of(module), fans(module)
    plain = {stored_name(name): name for name in scales}
    own = [plain.get(key, key) for key, value in module._parameters.items() if value is not None]
    for name in dict.fromkeys((*own, *scales, *table)):
        slot = Slot(path, module, name, scales.get(name), table.get(name))
        if name in own or _is_computed(module, name):
            fan = known.get(slot.qualified_name) if known else None
            yield slot._replace(fan=_with_bias(fan, slot.fan)) if fan else slot


def _is_computed(module: nn.Module, name: str) -> bool:
    # Asking for its value would run what computes it, such as a power iteration.
    return name in vars(module) or hasattr(type(module), name)


def _with_bias(fan: Fan, table: Fan | None) -> Fan:
    return fan._replace(bias=table.bias) if table and fan.bias is None else fan


def _checked_fans(root: nn.Module, fans: Fans | None) -> dict[str, Fan]:
    if not fans:
        return {}
    named_slots(root, "fans", fans)
    return {name: _as_fan(name, fan) for name, fan in fans.items()}


def named_slots(root: nn.Module, argument: str, names: Iterable[str]) -> dict[str, Slot]:
    """All slots of a tree by their plain qualified names, if these names are among them."""
    slots = {slot.qualified_name: slot for slot in slots_of(root, every_path=True)}
    for name in names:
        if name not in slots:
            raise InvalidArgument(argument, name, "plain names of the module's parameters")
    return slots


def _as_fan(name: str, fan: Fan | SupportsFloat) -> Fan:
    if isinstance(fan, Fan):
        return fan
    number = positive(f"fans[{name!r}]", fan)
    return Fan(number, number)


def _parameters_of(module: nn.Module) -> Mapping[str, Tensor | None]:
    own: Any = module._parameters
    return own if isinstance(own, dict) else dict(own.items())  # a ScriptModule's are no dict


def bias_of(slot: Slot) -> str | None:
    """The plain name of the bias that belongs to a weight, if the layer has one."""
    bias = (slot.fan and slot.fan.bias) or slot.name.replace("weight", "bias")
    has = _parameters_of(slot.module).get(bias) is not None or bias in scales_of(slot.module)
    return bias if has and bias != slot.name else None
