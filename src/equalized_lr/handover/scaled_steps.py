"""The steps of an optimizer on stored weights, w = ŵ / c, of parameters that are effective ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from equalized_lr.errors import UnknownScale
from equalized_lr.handover.kept import refuse_kept_values, refuse_unstorable
from equalized_lr.handover.originals import Original
from equalized_lr.handover.stepping import and_inner, around_steps, not_compiled, runs_hooks


class StoredSteps:
    """Runs each step of an optimizer on stored weights, which are the effective ones outside of it.

    Note [Hooks and closures]: a user's step hooks and closures compute with the model, so they see
    effective weights and gradients. torch runs hooks inside of `step`; so ours, which change to
    the stored weights and back, are kept the last before the step and the first after it. An
    optimizer that calls its base's step, or that of one which it wraps, runs hooks in the middle
    of its own step: there ours stand at both ends.

    Attributes:
        optimizer: the optimizer.
        scales: c of each parameter that steps on other values than its own.

    Raises:
        KeepsValues: the optimizer has kept something that depends on effective weights.
        Unscalable: a stored weight does not fit into its dtype.
    """

    def __init__(self, optimizer: Optimizer, scales: Mapping[Tensor, float]) -> None:
        self.optimizer = optimizer
        self.scales = {p: c for p, c in scales.items() if c != 1}
        self.refuse(self.scales)
        self._known = set(_parameters_of(optimizer))
        self._originals: list[Original] | None = None  # of the values outside, while inside
        self._depth = 0
        self._first: list[tuple[OrderedDict[int, Any], int]] = []
        self._last: list[tuple[OrderedDict[int, Any], int]] = []
        for each in filter(runs_hooks, and_inner(optimizer)):
            self._add_hooks(each)
        vars(optimizer)["_stored_steps"] = self
        around_steps(optimizer, self._around)

    def refuse(self, scales: Mapping[Tensor, float]) -> None:
        """Raises where parameters cannot step on stored weights from now on."""
        for each in and_inner(self.optimizer):
            refuse_kept_values(each, scales)
        for parameter, c in scales.items():
            refuse_unstorable(parameter, c)

    def add(self, scales: Mapping[Tensor, float]) -> None:
        """Takes in parameters that have joined the optimizer, and drops those that have left it."""
        self._known = set(_parameters_of(self.optimizer))
        self.scales = {p: c for p, c in {**self.scales, **scales}.items() if c != 1}
        self.scales = {p: c for p, c in self.scales.items() if p in self._known}

    def rescale(self, scales: Mapping[Tensor, float], direction: int) -> None:
        """Follows parameters that were multiplied by c (direction 1) or divided by it (-1)."""
        for p, c in scales.items():
            old = self.scales.pop(p, 1.0)
            new = old * c if direction > 0 else old / c
            if new != 1:
                self.scales[p] = new

    def unknown(self) -> list[Tensor]:
        """The parameters of the optimizer whose scale nobody has said."""
        return [p for p in _parameters_of(self.optimizer) if p not in self._known]

    @contextmanager
    def stored(self) -> Iterator[None]:
        """Inside, the parameters are the stored ones, and so are their gradients."""
        self._begin()
        try:
            yield
        finally:
            self._end()

    @contextmanager
    def _effective(self) -> Iterator[None]:
        inside = self._originals is not None
        self._change_to(stored=False)
        try:
            yield
        finally:
            self._change_to(stored=inside)

    def _begin(self) -> None:
        self._depth += 1
        self._change_to(stored=True)

    def _end(self) -> None:
        self._depth -= 1
        self._change_to(stored=self._depth > 0)

    @not_compiled
    @torch.no_grad()
    def _change_to(self, *, stored: bool) -> None:
        if stored and self._originals is None:
            self._originals = [Original(p, c) for p, c in self.scales.items()]
        elif not stored and self._originals is not None:
            originals, self._originals = self._originals, None
            for original in originals:
                original.restore()

    def _around(self, step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self.unknown():
            raise UnknownScale(type(self.optimizer).__name__)
        depth = self._depth
        self._sort_hooks()
        try:
            if runs_hooks(self.optimizer):
                return step(*args, **kwargs)
            with self.stored():
                args, kwargs = self._with_closures(args, kwargs)
                return step(*args, **kwargs)
        finally:
            self._depth = depth
            self._change_to(stored=depth > 0)

    def _add_hooks(self, optimizer: Optimizer) -> None:
        def effective(*_: Any) -> None:
            self._change_to(stored=False)

        def begin(_: Optimizer, args: Any, kwargs: Any) -> tuple[Any, Any]:
            self._begin()
            return self._with_closures(args, kwargs)

        def end(*_: Any) -> None:
            self._end()

        for register, hooks, first, last in (
            (optimizer.register_step_pre_hook, "_optimizer_step_pre_hooks", effective, begin),
            (optimizer.register_step_post_hook, "_optimizer_step_post_hooks", effective, end),
        ):
            add = cast(Any, register)
            self._first.append((vars(optimizer)[hooks], add(not_compiled(first)).id))
            self._last.append((vars(optimizer)[hooks], add(not_compiled(last)).id))

    def _sort_hooks(self) -> None:
        for hooks, key in self._first:
            hooks.move_to_end(key, last=False)
        for hooks, key in self._last:
            hooks.move_to_end(key)

    def _with_closures(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        wrapped = tuple(map(self._on_effective_weights, args))
        return wrapped, {key: self._on_effective_weights(kwargs[key]) for key in kwargs}

    def _on_effective_weights(self, argument: Any) -> Any:
        """A closure computes with the model; an argument that cannot be called is none."""
        if not callable(argument) or isinstance(argument, Optimizer):
            return argument

        def closure(*args: Any, **kwargs: Any) -> Any:
            with self._effective():
                return argument(*args, **kwargs)

        return closure


def stored_steps_of(optimizer: Optimizer) -> StoredSteps | None:
    """What an optimizer runs under, or one that it wraps (as accelerate's does), if anything."""
    found = (vars(each).get("_stored_steps") for each in and_inner(optimizer))
    return cast("StoredSteps | None", next(filter(None, found), None))


def _parameters_of(optimizer: Optimizer) -> Iterator[Tensor]:
    return (p for group in optimizer.param_groups for p in group["params"])
