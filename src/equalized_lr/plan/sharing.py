"""Who holds a Parameter: tied weights are one Parameter in several modules."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from equalized_lr.errors import TiedAssignment, TiedElsewhere
from equalized_lr.layer.hook import stored_name
from equalized_lr.plan.live import live


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


def tied_slots(root: nn.Module) -> dict[Tensor, list[Slot]]:
    """All places of each Parameter that a tree holds in several; names as they stand."""
    places = Counter(id(p) for module in root.modules() for p in module._parameters.values())
    slots: dict[Tensor, list[Slot]] = {}
    for path, module in root.named_modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and places[id(parameter)] > 1:
                slots.setdefault(parameter, []).append(Slot(path, module, name))
    return slots


def refuse_outside_holders(ties: Sequence[Sequence[Slot]]) -> None:
    """Raises `TiedElsewhere` if a module that is not named here holds one of the Parameters too.

    Note [Ties across the border]: a module does not know who else holds its Parameters. Scaling a
    weight for one holder alone would change the other without a word, so the live modules are
    searched; but only if a Parameter has more references than its known holders account for (an
    optimizer's, say), since the search takes a time that grows with the heap. A shallow copy
    (`copy.copy`) shares the whole dict of Parameters, whose references are counted likewise.

    Args:
        ties: for each Parameter, all its known places.
    """
    tied = _with_more_references([slots[0].parameter for slots in ties], list(map(len, ties)))
    modules = list({id(slot.module): slot.module for slots in ties for slot in slots}.values())
    copied = _with_more_references([m._parameters for m in modules], [1] * len(modules))
    copies = {id(module) for module, yes in zip(modules, copied, strict=True) if yes}
    suspects = {
        id(slots[0].parameter): slots
        for slots, yes in zip(ties, tied, strict=True)
        if yes or any(id(slot.module) in copies for slot in slots)
    }
    found = _other_holder(suspects) if suspects else None
    if found:
        raise TiedElsewhere(str(found.slot), found.kind)


def _with_more_references(objects: Sequence[object], known: Sequence[int]) -> list[bool]:
    """Whether each object has more references than those known, besides that of the list given."""
    free = next(map(sys.getrefcount, [object()]))  # what this way of counting adds itself
    counts = map(sys.getrefcount, objects)
    return [count > free + number for count, number in zip(counts, known, strict=True)]


def refuse_assignment(parameter: nn.Parameter, slot: Slot) -> None:
    """Raises if values cannot go from a Parameter into a slot's own without changing other modules.

    Args:
        parameter: what is assigned; another module may not hold it.
        slot: where its values go; what it holds may not be tied to another module.
    """
    found = _other_holder({id(parameter): [slot], id(slot.parameter): [slot]})
    if found and found.parameter is parameter:
        raise TiedElsewhere(str(slot), found.kind)
    if found:
        raise TiedAssignment(str(slot), found.kind)


class _Holder(NamedTuple):
    """Another holder of a slot's Parameter, and the kind of module that it is."""

    slot: Slot
    parameter: Tensor
    kind: str


def _other_holder(suspects: dict[int, Sequence[Slot]]) -> _Holder | None:
    if next(_search(suspects), None) is None:
        return None
    gc.collect()  # it may have been dead already, in a cycle
    return next(_search(suspects), None)


def _search(suspects: dict[int, Sequence[Slot]]) -> Iterator[_Holder]:
    inside = {id(slot.module) for slots in suspects.values() for slot in slots}
    for module in live(nn.Module):
        if id(module) not in inside:
            for parameter in module.__dict__.get("_parameters", {}).values():
                if id(parameter) in suspects:
                    slot = suspects[id(parameter)][0]
                    yield _Holder(slot, parameter, type(module).__name__)
