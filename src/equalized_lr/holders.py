"""Who holds a Parameter: tied weights are one Parameter in several modules."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from equalized_lr.errors import TiedElsewhere
from equalized_lr.hook import stored_name


class Slot(NamedTuple):
    """A place where a Parameter is held, under its plain name or its stored one.

    Attributes:
        path: the module's qualified name, "" for the root.
        module: the module.
        name: the plain name of the Parameter in the module.
    """

    path: str
    module: nn.Module
    name: str

    @property
    def parameter(self) -> nn.Parameter:
        """The Parameter itself, equalized or not."""
        held = self.module._parameters
        parameter = held.get(self.name)
        if parameter is None:
            parameter = held[stored_name(self.name)]
        assert parameter is not None
        return parameter

    @property
    def qualified_name(self) -> str:
        """The plain name as `named_parameters` gives it."""
        return f"{self.path}.{self.name}" if self.path else self.name

    def __str__(self) -> str:
        return f"'{self.qualified_name}' ({type(self.module).__name__})"


def slots_by_parameter(root: nn.Module) -> dict[Tensor, list[Slot]]:
    """All places in a tree of modules, by the Parameter that they hold; names as they stand."""
    slots: dict[Tensor, list[Slot]] = {}
    for path, module in root.named_modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                slots.setdefault(parameter, []).append(Slot(path, module, name))
    return slots


def refuse_outside_holders(ties: Sequence[Sequence[Slot]]) -> None:
    """Raises `TiedElsewhere` if a module that is not named here holds one of the Parameters too.

    Note [Ties across the border]: a module does not know who else holds its Parameters. Scaling a
    weight for one holder alone would change the other without a word, so the live modules are
    searched; but only if a Parameter has more references than its known holders account for (an
    optimizer's, say), since the search takes a time that grows with the heap.

    Args:
        ties: for each Parameter, all its known places.
    """
    parameters = [slots[0].parameter for slots in ties]
    counts = list(map(sys.getrefcount, parameters))
    free = next(map(sys.getrefcount, [object()]))  # what this way of counting adds itself
    suspects = {
        id(parameter): slots
        for parameter, slots, count in zip(parameters, ties, counts, strict=True)
        if count > free + len(slots)
    }
    if suspects:
        _refuse_holders(suspects)


def refuse_other_holder(parameter: nn.Parameter, slot: Slot) -> None:
    """Raises `TiedElsewhere` if another module than the slot's holds this Parameter."""
    _refuse_holders({id(parameter): [slot]})


def _refuse_holders(suspects: dict[int, Sequence[Slot]]) -> None:
    inside = {id(slot.module) for slots in suspects.values() for slot in slots}
    if next(_outside(suspects, inside), None):
        gc.collect()  # it may have been dead already, in a cycle
        for slot, holder in _outside(suspects, inside):
            raise TiedElsewhere(str(slot), holder)


def _outside(suspects: dict[int, Sequence[Slot]], inside: set[int]) -> Iterator[tuple[Slot, str]]:
    objects = gc.get_objects()
    # By type, not by isinstance: that would run the `__class__` of proxies and lazy objects.
    kinds = {kind for kind in set(map(type, objects)) if issubclass(kind, nn.Module)}
    for module in objects:
        if type(module) in kinds and id(module) not in inside:
            for parameter in module.__dict__.get("_parameters", {}).values():
                if id(parameter) in suspects:
                    yield suspects[id(parameter)][0], type(module).__name__
