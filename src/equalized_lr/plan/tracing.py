"""A forward, followed operation by operation from each parameter to what consumes it."""

import math
from collections.abc import Mapping
from dataclasses import replace
from enum import IntEnum
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from equalized_lr.plan.contraction import CONTRACTIONS, FUSED, SUMS, Contraction
from equalized_lr.plan.fan import Fan
from equalized_lr.plan.operation import Operation, extent, has_values, operation, tensors_in
from equalized_lr.plan.provenance import (
    PRODUCTS,
    UNKNOWN,
    Level,
    Operand,
    Provenance,
    contraction_of,
    derive,
    power_of,
    union,
)
from equalized_lr.plan.snapshot import Snapshot, contents, memory_of

_PLAIN = {level: Provenance(level) for level in Level}


class Sight(IntEnum):
    """How plainly an operation shows a weight.

    Sums of squares are norms, as in demodulation, and kernels are mixed before they convolve.
    """

    SQUARES = 0
    SUM_OF_PRODUCTS = 1
    CONTRACTION = 2
    KERNEL = 3


class Use(NamedTuple):
    """One way in which a parameter is consumed.

    Attributes:
        operation: what consumes it.
        fan: the connections that the operation shows.
        constant: the number that the parameter was multiplied by on its way there.
        rank: the uses with the highest one count: those that meet the inputs before those that meet
            constants, and for the rest as `Sight` has it.
    """

    operation: str
    fan: Fan
    constant: float
    rank: tuple[Level, Sight]


class Tracer(TorchDispatchMode):
    """Sees every operation of a forward.

    Parameters are known by their ids.

    Attributes:
        uses: of each parameter that is consumed, in their order.
        partners: for those that meet other parameters as equals, those.
        opaque: the operations that take a parameter and do not show what they do.
    """

    supports_higher_order_operators = True

    def __init__(self, snapshot: Snapshot, arguments: object) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.uses: dict[int, dict[Use, None]] = {}
        self.partners: dict[int, set[int]] = {}
        self.opaque: dict[int, str] = {}
        self._snapshot = snapshot
        self._tables: dict[int, Fan] = {}
        self._by_memory: dict[int | None, list[Tensor]] = {}
        self._parameters: dict[int, Provenance] = {}
        self._sources: dict[int, tuple[Tensor, Provenance]] = {}
        self._writes: dict[int | None, tuple[Tensor, Provenance]] = {}
        self._sure = True  # that numbers are no functions of weights
        for tensor in contents(arguments):
            if isinstance(tensor, Tensor):
                self._sources[id(tensor)] = tensor, _PLAIN[Level.INPUT]

    def follow(self, parameter: Tensor, table: Fan | None) -> None:
        """Adds a parameter, and what the table of layers says of it."""
        key = id(parameter)
        self._parameters[key] = Provenance(Level.LEARNED, {key: 1.0})
        memory = memory_of(parameter)
        if memory is not None:
            self._by_memory.setdefault(memory, []).append(parameter)
        if table:
            self._tables[key] = table

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Runs an operation, and follows it unless it belongs to a backward."""
        op, kwargs = operation(func), kwargs or {}
        targets = op.targets(args, kwargs)
        self._snapshot.before_writing(targets)
        out = func(*args, **kwargs)
        if torch._C._current_graph_task_id() == -1:
            results = tensors_in((out,))
            self._keep(results, targets, self._through(op, args, kwargs, results))
        return out

    def _keep(self, results: list[Tensor], targets: list[Tensor], source: Provenance) -> None:
        for tensor in results:
            plain = source.degrees and not has_values(tensor)
            # Kept alive, lest another tensor gets its id.
            self._sources[id(tensor)] = tensor, _PLAIN[source.level] if plain else source
        for tensor in targets:
            memory = memory_of(tensor)
            if memory is not None and tensor.untyped_storage().nbytes() > tensor.nbytes:
                before = self._writes[memory][1] if memory in self._writes else source
                self._writes[memory] = tensor, union(before, source)

    def _source(self, tensor: Tensor) -> Provenance:
        source = self._parameters.get(id(tensor))
        if source is not None:
            return source
        entry = self._sources.get(id(tensor))
        source = entry[1] if entry else self._in_memory(tensor)
        write = self._writes.get(memory_of(tensor))
        return union(source, write[1]) if write else source

    def _in_memory(self, tensor: Tensor) -> Provenance:
        """Of a tensor that comes from no operation: it may lie in the memory of a parameter."""
        for parameter in self._by_memory.get(memory_of(tensor), ()):
            first = parameter.storage_offset()
            last = tensor.storage_offset() + tensor.numel()
            if first <= tensor.storage_offset() and last <= first + parameter.numel():
                return self._parameters[id(parameter)]
        return _PLAIN[Level.CONSTANT]

    def _through(
        self, op: Operation, args: Any, kwargs: Mapping[str, Any], results: list[Tensor]
    ) -> Provenance:
        tensors = [] if op.is_factory else tensors_in((*args, *kwargs.values()))
        sources = [self._source(tensor) for tensor in tensors]
        level = max((source.level for source in sources), default=Level.CONSTANT)
        level = max(level, Level.RANDOM) if op.is_random else level
        if op.name == "_local_scalar_dense" and level is Level.LEARNED:
            self._sure = False
        if not any(source.degrees for source in sources):
            return _PLAIN[level]
        if op.name in CONTRACTIONS:
            return self._contract(op.name, CONTRACTIONS[op.name](args), level)
        values = args if op.name in PRODUCTS else tensors
        return self._derive(op, args, [self._operand(value) for value in values], results)

    def _derive(
        self, op: Operation, args: Any, operands: list[Operand], results: list[Tensor]
    ) -> Provenance:
        if (op.name in FUSED or not op.is_torch) and self._hide(op.name, operands):
            return _PLAIN[Level.INPUT]
        size = results[0].numel() if results else 0
        result = derive(op.name, operands, size, power_of(op.name, args, view=op.is_view))
        first = operands[0]
        if op.name not in SUMS or not size or not first.source.is_modulated:
            return result
        # A contraction by hand.
        fan = Fan(first.size / size, first.source.spread)
        self._record(first.source, op.name, fan, (Level.INPUT, Sight.SUM_OF_PRODUCTS))
        return replace(result, faint=True)

    def _operand(self, value: object) -> Operand:
        if not isinstance(value, Tensor):
            number = float(value) if self._sure and isinstance(value, int | float) else UNKNOWN
            return Operand(1, Provenance(constant=number))
        source = self._source(value)
        is_constant = source.level is Level.CONSTANT and not source.degrees
        if is_constant and value.numel() == 1 and not value.is_meta:
            source = Provenance(constant=abs(value.item()))
        return Operand(extent(value), source, has_values(value))

    def _hide(self, name: str, operands: list[Operand]) -> bool:
        """Whether an operation takes weights in without showing what it does with them."""
        weights = [each for each in operands if each.source.is_weight]
        others = [each for each in operands if not each.source.is_weight and each.floating]
        if not weights or not others:
            return False
        for each in weights:
            self._record(each.source, name, None, (Level.INPUT, Sight.CONTRACTION))
        return True

    def _contract(self, name: str, contraction: Contraction, level: Level) -> Provenance:
        left, right = sides = [self._source(side.tensor) for side in contraction.sides]
        number = self._weight(left, right) if contraction.weight is None else contraction.weight
        weight = None
        if number is not None:
            weight = sides[number]
            sight = Sight.KERNEL if weight.faint else Sight.CONTRACTION
            self._record(weight, name, contraction.sides[number].fan, (level, sight))
        if contraction.bias and level is Level.INPUT:
            return _PLAIN[level]
        return contraction_of(left, right, weight)

    def _weight(self, left: Provenance, right: Provenance) -> int | None:
        """Which of two operands is the weight, if one of them is."""
        sides = (left, right)
        weights = [number for number, side in enumerate(sides) if side.is_weight]
        if len(weights) < 2 or left.degrees.keys() & right.degrees.keys():
            return weights[0] if len(weights) == 1 else None
        for is_it in (_is_pure, self._is_in_table):
            chosen = [number for number in weights if is_it(sides[number])]
            if len(chosen) == 1:
                return chosen[0]
        for one, other in (sides, sides[::-1]):
            for key in one.degrees:
                self.partners.setdefault(key, set()).update(other.degrees)
        return None

    def _is_in_table(self, source: Provenance) -> bool:
        return any(key in self._tables for key in source.degrees)

    def _record(
        self, source: Provenance, name: str, fan: Fan | None, rank: tuple[Level, Sight]
    ) -> None:
        """Adds a use; if the operation shows no fan, that of the table counts."""
        level, sight = rank
        for key, degree in source.degrees.items():
            seen = fan or self._tables.get(key)
            # A layer of the table that generates a kernel is a layer still, and what divides is no
            # weight.
            generates = source.faint and key in self._tables
            if seen is None:
                self.opaque[key] = name
            elif seen.fan_in > 0 and not generates and not degree < 0:
                known = degree == 1 and not math.isnan(source.constant)
                constant = source.constant if known else 1.0
                this = (level, Sight.SQUARES if degree > 1 else sight)
                self.uses.setdefault(key, {})[Use(name, seen, constant, this)] = None


def _is_pure(source: Provenance) -> bool:
    return source.level < Level.INPUT
