"""Who shares a Parameter: layers that are tied, other modules, tensors in the same memory."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from equalized_lr.errors import (
    ConflictingTie,
    SharedMemory,
    TiedElsewhere,
    TiedToEqualized,
    UnsupportedWeight,
)
from equalized_lr.layer.hook import stored_name
from equalized_lr.plan.slots import Slot
from equalized_lr.tensors import address, is_expanded, module_holding


@dataclass(frozen=True, slots=True)
class Share:
    """One Parameter to be scaled by one constant, in all the places where it is held.

    Attributes:
        scale: the constant c.
        slots: the places.
        lr_mul: the part of c that the stored values make up for when they are drawn.
    """

    scale: float
    slots: list[Slot]
    lr_mul: float = 1.0

    @property
    def parameter(self) -> Tensor:
        """The Parameter; not kept, since references to it are counted below."""
        return self.slots[0].parameter


def merge(shares: Iterable[Share]) -> list[Share]:
    """Gathers the places of each Parameter, whose scales must agree."""
    merged: dict[Tensor, Share] = {}
    for share in shares:
        first = merged.setdefault(share.parameter, share)
        if first.scale != share.scale:
            raise ConflictingTie([(str(s.slots[0]), s.scale) for s in (first, share)])
        if first is not share:
            first.slots.extend(share.slots)
    return list(merged.values())


def with_all_places(shares: Sequence[Share], slots: Sequence[Slot]) -> list[Share]:
    """The shares with all places that hold their Parameter, such as a tied embedding."""
    places: dict[int, list[Slot]] = {id(share.parameter): [] for share in shares}
    for slot in slots if shares else ():
        own = places.get(id(slot.find()))
        if own is not None:
            own.append(slot)
    complete = [Share(s.scale, places[id(s.parameter)], s.lr_mul) for s in shares]
    for share in complete:
        for slot in share.slots:
            if slot.scale is not None:
                first = next(each for each in share.slots if each.scale is None)
                raise TiedToEqualized(str(first), _stored_place(slot), slot.scale)
    return complete


def _stored_place(slot: Slot) -> str:
    return f"'{stored_name(slot.qualified_name)}' ({type(slot.module).__name__})"


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
    inside = [slot.module for slots in suspects.values() for slot in slots]
    other = module_holding(suspects.keys(), inside) if suspects else None
    if other:
        raise TiedElsewhere(str(suspects[id(other.parameter)][0]), other.kind)


def _with_more_references(objects: Sequence[object], known: Sequence[int]) -> list[bool]:
    """Whether each object has more references than those known, besides that of the list given."""
    free = next(map(sys.getrefcount, [object()]))  # what this way of counting adds itself
    counts = map(sys.getrefcount, objects)
    return [count > free + number for count, number in zip(counts, known, strict=True)]


class _Place(NamedTuple):
    """The bytes of one tensor, as a range within its storage."""

    storage: int
    start: int | torch.SymInt
    end: int | torch.SymInt
    name: str
    tensor: int  # its id


def refuse_unwritable(root: nn.Module, slots: Sequence[Slot]) -> None:
    """Raises if writing into one of the Parameters fails, or changes another tensor of the tree.

    Values and gradients are changed in place, last of all. A write that fails there would leave a
    model half changed, and two Parameters over one memory (as `a.weight.data = b.weight.data.T`
    makes them) would each be scaled by both constants.

    Args:
        root: the tree whose parameters and buffers must not change along.
        slots: a place of each Parameter that is to be written.
    """
    written: dict[int, tuple[Slot, str]] = {}
    for slot in slots:
        parameter = slot.parameter
        for tensor, end in ((parameter, ""), (parameter.grad, ".grad")):
            if tensor is not None:
                written[id(tensor)] = slot, end
                if reason := _fixed(tensor):
                    raise UnsupportedWeight(f"{slot}{end}", reason)
    last: _Place | None = None
    for place in sorted(_places(root)):
        if last and place.storage == last.storage and place.start < last.end:
            for one, other in ((place, last), (last, place)):
                if one.tensor in written:
                    slot, end = written[one.tensor]
                    raise SharedMemory(f"{slot}{end}", other.name)
        if last is None or (place.storage, place.end) > (last.storage, last.end):
            last = place


def _fixed(tensor: Tensor) -> str | None:
    """What keeps a tensor from being written, in words; None if nothing does."""
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        return "an inference tensor, which cannot be changed here"
    return "expanded, with many elements in one place" if is_expanded(tensor) else None


def _tensors(root: nn.Module) -> Iterator[tuple[str, str, Tensor]]:
    """The path and name of each parameter, gradient and buffer, each of them once."""
    known: set[int] = set()
    for path, module in root.named_modules():
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None and id(tensor) not in known:
                known.add(id(tensor))
                yield path, name, tensor
                if tensor.is_leaf and tensor.grad is not None:
                    yield path, f"{name}.grad", tensor.grad


def _places(root: nn.Module) -> Iterator[_Place]:
    """The tensors that lie in one memory with others."""
    tensors = [(address(tensor), tensor, path, name) for path, name, tensor in _tensors(root)]
    count = Counter(storage for storage, *_ in tensors)
    for storage, tensor, path, name in tensors:
        if storage and count[storage] > 1:
            qualified_name = f"{path}.{name}" if path else name
            steps = zip(tensor.shape, tensor.stride(), strict=True)
            length = 1 + sum((size - 1) * stride for size, stride in steps)
            start = tensor.storage_offset()
            size = tensor.element_size()
            yield _Place(storage, start * size, (start + length) * size, qualified_name, id(tensor))
