"""A forward, followed operation by operation from each parameter to what consumes it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from enum import IntEnum
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from equalized_lr.plan.contraction import CONTRACTIONS, FUSED, SUMS, Contraction
from equalized_lr.plan.fan import Fan
from equalized_lr.plan.provenance import (
    PRODUCTS,
    UNKNOWN,
    Level,
    Operand,
    Provenance,
    contracted,
    derive,
    power_of,
    written,
)
from equalized_lr.plan.snapshot import Snapshot, contents, memory_of, written_by

NAMESPACES = ("aten", "prims", "prim")


class Sight(IntEnum):
    """How plainly an operation shows a weight; mixed kernels are mixed before they convolve."""

    SUM_OF_PRODUCTS = 0
    CONTRACTION = 1
    KERNEL = 2


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
        self._by_memory: dict[int | None, Provenance] = {}
        self._parameters: dict[int, Provenance] = {}
        self._sources = WeakTensorKeyDictionary()
        self._writes: dict[int | None, tuple[Tensor, Provenance]] = {}
        self._sure = True  # that numbers are no functions of weights
        for tensor in contents(arguments):
            if isinstance(tensor, Tensor):
                self._sources[tensor] = Provenance(Level.INPUT)

    def follow(self, parameter: Tensor, table: Fan | None) -> None:
        """Adds a parameter, and what the table of layers says of it."""
        key = id(parameter)
        self._parameters[key] = Provenance(Level.LEARNED, {key: 1.0})
        memory = memory_of(parameter)
        # Parameters in one flat piece of memory cannot be told apart by it.
        shared = memory in self._by_memory and self._by_memory[memory].degrees.keys() != {key}
        self._by_memory[memory] = Provenance(Level.LEARNED) if shared else self._parameters[key]
        if table:
            self._tables[key] = table

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Runs an operation, and follows it unless it belongs to a backward."""
        kwargs = kwargs or {}
        self._snapshot.before(func, args, kwargs)
        out = func(*args, **kwargs)
        if torch._C._current_graph_task_id() == -1:
            self._keep(func, args, kwargs, out, self._through(func, args, kwargs, out))
        return out

    def _keep(self, func: Any, args: Any, kwargs: Any, out: Any, source: Provenance) -> None:
        for tensor in contents(out):
            if isinstance(tensor, Tensor) and id(tensor) not in self._parameters:
                self._sources[tensor] = source if _has_values(tensor) else Provenance(source.level)
        for tensor in written_by(func, args, kwargs):
            memory = memory_of(tensor)
            if memory is not None and tensor.untyped_storage().nbytes() > tensor.nbytes:
                before = self._writes[memory][1] if memory in self._writes else source
                self._writes[memory] = tensor, written(before, source)

    def _source(self, tensor: Tensor) -> Provenance:
        if id(tensor) in self._parameters:
            return self._parameters[id(tensor)]
        source = self._sources.get(tensor)
        if source is None:
            source = self._by_memory.get(memory_of(tensor), Provenance())
        write = self._writes.get(memory_of(tensor)) if self._writes else None
        return written(source, write[1]) if write else source

    def _through(self, func: Any, args: Any, kwargs: Mapping[str, Any], out: Any) -> Provenance:
        name = operation_name(func)
        if name in CONTRACTIONS:
            source = self._contract(name, CONTRACTIONS[name](args))
        else:
            factory = name.startswith("new_") or name.endswith("_like")
            values = () if factory else args if name in PRODUCTS else contents((args, kwargs))
            operands = [each for each in map(self._operand, values) if each]
            hidden = name in FUSED or getattr(func, "namespace", "") not in NAMESPACES
            if hidden and self._hide(name, operands):
                source = Provenance(Level.INPUT)
            else:
                power = power_of(name, args, view=getattr(func, "is_view", False))
                source = self._derive(name, operands, out, power)
        if torch.Tag.nondeterministic_seeded in getattr(func, "tags", ()):
            source = replace(source, level=max(source.level, Level.RANDOM))
        return source

    def _operand(self, value: object) -> Operand | None:
        if isinstance(value, int | float):
            return Operand(1, Provenance(constant=float(value) if self._sure else UNKNOWN))
        if not isinstance(value, Tensor):
            return None
        source = self._source(value)
        if source == Provenance() and value.numel() == 1 and not value.is_meta:
            source = replace(source, constant=abs(value.item()))
        return Operand(value.numel(), source, _has_values(value))

    def _derive(
        self, name: str, operands: list[Operand], out: object, power: float | None
    ) -> Provenance:
        if name == "_local_scalar_dense" and operands[0].source.level is Level.LEARNED:
            self._sure = False
        size = next((each.numel() for each in contents(out) if isinstance(each, Tensor)), 0)
        result = derive(name, operands, size, power)
        if name not in SUMS or not size or not operands[0].source.is_modulated:
            return result
        # A contraction by hand.
        fan = Fan(operands[0].size / size, operands[0].source.spread)
        self._record(operands[0].source, Use(name, fan, 1.0, (Level.INPUT, Sight.SUM_OF_PRODUCTS)))
        return replace(result, faint=True)

    def _hide(self, name: str, operands: list[Operand]) -> bool:
        """Whether an operation takes weights in without showing what it does with them."""
        weights = [each for each in operands if each.source.is_weight]
        others = [each for each in operands if not each.source.is_weight and each.floating]
        if not weights or not others:
            return False
        for key in {key for each in weights for key in each.source.degrees}:
            if key in self._tables:
                use = Use(name, self._tables[key], 1.0, (Level.INPUT, Sight.CONTRACTION))
                self._record(Provenance(degrees={key: 0.0}), use)
            else:
                self.opaque[key] = name
        return True

    def _contract(self, name: str, contraction: Contraction) -> Provenance:
        left, right = (self._source(side.tensor) for side in contraction.sides)
        level = max(left.level, right.level)
        weight = self._weight(left, right) if contraction.weight is None else contraction.weight
        if weight is not None:
            source = (left, right)[weight]
            sight = Sight.KERNEL if source.faint else Sight.CONTRACTION
            use = Use(name, contraction.sides[weight].fan, 1.0, (level, sight))
            self._record(source, use)
        if contraction.bias and level is Level.INPUT:
            return Provenance(level)
        return contracted(left, right)

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

    def _record(self, source: Provenance, use: Use) -> None:
        for key, degree in source.degrees.items():
            # A layer of the table that generates a kernel is a layer still, and what divides is no
            # weight.
            generates = source.faint and key in self._tables
            if use.fan.fan_in and not generates and not degree < 0:
                known = degree == 1 and not math.isnan(source.constant)
                constant = source.constant if known else 1.0
                self.uses.setdefault(key, {})[use._replace(constant=constant)] = None


def operation_name(func: Any) -> str:
    """The name of an operation, without its namespace, overload, and the mark of writing."""
    schema = getattr(func, "_schema", None)
    name = schema.name.rpartition("::")[2] if schema else func.name()
    return str(name).rstrip("_")


def _has_values(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _is_pure(source: Provenance) -> bool:
    return source.level < Level.INPUT
