"""The steps of an optimizer on stored weights, w = ŵ / c, of parameters that are effective ones."""

import functools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from equalized_lr.errors import UnknownScale
from equalized_lr.handover.groups import parameters_of
from equalized_lr.handover.kept import refuse_kept_values
from equalized_lr.handover.originals import to_stored
from equalized_lr.handover.powers import times_power
from equalized_lr.handover.stepping import and_inner, around_steps, not_compiled, runs_hooks
from equalized_lr.tensors import largest, refuse_overflow


class StoredSteps:
    """Runs each step of an optimizer on stored weights, which are the effective ones outside of it.

    Note [Hooks and closures]: a user's step hooks and closures compute with the model, so they see
    effective weights and gradients. torch runs hooks inside of `step`; so ours, which change to
    the stored weights and back, are kept the last before the step and the first after it. An
    optimizer that calls its base's step, or that of one which it wraps, runs hooks in the middle
    of its own step: there ours stand at both ends.
    """

    def __init__(self, optimizer: Optimizer, scales: Mapping[Tensor, float]) -> None:
        self.optimizer = optimizer
        self._scales: dict[Tensor, float] = {}  # of all parameters that it is known to train
        self._undo: list[Callable[[], None]] = []  # while the values are stored ones
        self._depth = 0  # of steps on stored weights
        self._ends: list[tuple[OrderedDict[int, Any], int, bool]] = []
        self.add(scales)
        self.refuse(self.scales)
        for each in and_inner(optimizer):
            if runs_hooks(each):
                self._add_hooks(each)
            around_steps(each, functools.partial(self._around, each))
        vars(optimizer)["_stored_steps"] = self

    @property
    def scales(self) -> dict[Tensor, float]:
        """c of each parameter that steps on other values than its own."""
        return {p: c for p, c in self._scales.items() if c != 1}

    def refuse(self, scales: Mapping[Tensor, float]) -> None:
        """Raises where parameters cannot step on stored weights from now on."""
        for each in and_inner(self.optimizer):
            refuse_kept_values(each, scales)
        for p, c in scales.items():
            refuse_overflow(f"a parameter of shape {tuple(p.shape)}", largest(p), c, p.dtype)

    def add(self, scales: Mapping[Tensor, float]) -> None:
        """Takes in parameters that have joined the optimizer, and drops those that have left it."""
        known = {**self._scales, **scales}
        self._scales = {p: known.get(p, 1.0) for p in parameters_of(self.optimizer)}

    def rescale(self, scales: Mapping[Tensor, float], direction: int) -> None:
        """Follows parameters that were multiplied by c (direction 1) or divided by it (-1)."""
        for p in self._scales.keys() & scales.keys():
            self._scales[p] = times_power(self._scales[p], scales[p], 1, direction)

    def unknown(self) -> list[Tensor]:
        """The parameters of the optimizer whose scale nobody has said."""
        return [p for p in parameters_of(self.optimizer) if p not in self._scales]

    def stored(self) -> AbstractContextManager[None]:
        """Inside, the parameters are the stored ones, and so are their gradients."""
        return self._weights(stored=True)

    @contextmanager
    def _weights(self, *, stored: bool) -> Iterator[None]:
        """Inside, all are stored or all effective; after it, again what they were before."""
        depth, before = self._depth, bool(self._undo)
        self._depth += stored
        try:
            self._change_to(stored=stored)
            yield
        finally:
            self._depth = depth
            self._change_to(stored=before)

    @not_compiled
    @torch.no_grad()
    def _change_to(self, *, stored: bool) -> None:
        if stored and not self._undo:
            for p, c in self.scales.items():
                self._undo.append(to_stored(p, c))  # so that an exception undoes all before it
        while self._undo and not stored:
            restore = self._undo.pop()
            restore()

    def _around(
        self, optimizer: Optimizer, step: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        if self.unknown():
            raise UnknownScale(type(self.optimizer).__name__)
        for hooks, key, last in self._ends:
            hooks.move_to_end(key, last=last)
        closures = map(self._on_effective_weights, args)
        named = {key: self._on_effective_weights(value) for key, value in kwargs.items()}
        with self._weights(stored=not runs_hooks(optimizer)):
            return step(*closures, **named)

    def _add_hooks(self, optimizer: Optimizer) -> None:
        def effective(*_: Any) -> None:
            self._change_to(stored=False)

        def begin(*_: Any) -> None:
            self._depth += 1
            self._change_to(stored=True)

        def end(*_: Any) -> None:
            self._depth -= 1
            self._change_to(stored=self._depth > 0)

        for when, first, last in (("pre", effective, begin), ("post", effective, end)):
            hooks = vars(optimizer)[f"_optimizer_step_{when}_hooks"]
            register = getattr(optimizer, f"register_step_{when}_hook")
            self._ends.append((hooks, register(not_compiled(first)).id, False))
            self._ends.append((hooks, register(not_compiled(last)).id, True))

    def _on_effective_weights(self, argument: Any) -> Any:
        """A closure computes with the model; an argument that cannot be called is none."""
        if not callable(argument):
            return argument

        def closure(*args: Any, **kwargs: Any) -> Any:
            with self._weights(stored=False):
                return argument(*args, **kwargs)

        return closure


def stored_steps_of(optimizer: Optimizer) -> StoredSteps | None:
    """What an optimizer runs under, or one that it wraps (as accelerate's does), if anything."""
    steps = (vars(each).get("_stored_steps") for each in and_inner(optimizer))
    return cast("StoredSteps | None", next(filter(None, steps), None))
