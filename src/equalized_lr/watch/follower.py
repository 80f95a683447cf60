"""How far each step of an optimizer moves each weight, sampled, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from equalized_lr.handover.groups import scale_of
from equalized_lr.handover.stepping import not_compiled
from equalized_lr.layer.hook import scales_of
from equalized_lr.plan.slots import slots_of
from equalized_lr.tensors import is_dtensor

POINTS = 256  # samples that are kept of each weight; an even number


class Weight(NamedTuple):
    """What is followed.

    Attributes:
        name: its plain qualified name.
        layer: the class of its layer.
        scale: its c: in force, or that of its group in the implicit form; None if it has none.
        parameter: what the optimizer trains.
    """

    name: str
    layer: str
    scale: float | None
    parameter: Tensor


class Track:
    """The relative steps of one weight.

    Note [Bounded memory]: when there are `POINTS` samples, neighbours are merged into their mean,
    and from then on half as many are taken. So a training of any length fits, evenly spaced.

    Attributes:
        weight: what is followed, as it was found last.
        next: the step that is to be sampled next.
    """

    def __init__(self, weight: Weight, every: int, first: int) -> None:
        self.weight, self.next = weight, first
        self._every = every
        self._at: list[int] = []
        self._ratios: list[Tensor] = []

    def add(self, step: int, before: Tensor) -> None:
        """Takes the step from what the weight was before it to what it is now."""
        self._at.append(step)
        self._ratios.append(relative_step(before, self.weight.parameter.detach()))
        if len(self._at) == POINTS:
            self._at = self._at[::2]
            pairs = zip(self._ratios[::2], self._ratios[1::2], strict=True)
            self._ratios = [(one + other) / 2 for one, other in pairs]
            self._every *= 2
        self.next = step + self._every

    def points(self) -> list[tuple[int, float]]:
        """Steps and relative steps; a weight that was zero had none, nor one that is not finite."""
        pairs = zip(self._at, map(float, self._ratios), strict=True)
        return [(step, ratio) for step, ratio in pairs if math.isfinite(ratio)]

    def has_diverged(self) -> bool:
        """Whether the weight was seen with values that are not finite."""
        return any(not ratio < math.inf for ratio in map(float, self._ratios))


def relative_step(before: Tensor, after: Tensor) -> Tensor:
    """The norm of the difference in units of the norm before, on the weight's own device.

    A constant c is a factor of both norms: stored and effective weights have the same. It is
    -inf for a weight that was zero, and inf or NaN for one that is no longer finite.
    """
    size = _norm(before)
    return torch.where(size == 0, -math.inf, _norm(after - before) / size)


def _norm(tensor: Tensor) -> Tensor:
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    # In half precision the sum of squares would overflow.
    norm: Any = torch.linalg.vector_norm(tensor.float() if tensor.itemsize < 4 else tensor)
    return cast(Tensor, norm.full_tensor() if is_dtensor(norm) else norm)


class Follower:
    """Watches the steps of one optimizer.

    Attributes:
        tracks: one for each weight that it trains, by the weight's name.
        steps: how many it has made while it was watched.
    """

    def __init__(self, module: nn.Module, optimizer: Optimizer, every: int) -> None:
        self.tracks: dict[str, Track] = {}
        self.steps = 0
        self._module, self._optimizer, self._every = module, optimizer, every
        self._watched: list[Track] = []
        self._trained: list[int] = []
        self._next = self._depth = 0
        self._before: list[tuple[Track, Tensor]] = []
        self._handles: list[RemovableHandle] = []

    def start(self) -> None:
        """Begins to watch, or goes on; blocks may be nested."""
        self._depth += 1
        if self._depth > 1:
            return
        self._find_weights()
        self._handles = [
            self._optimizer.register_step_pre_hook(self._before_step),
            self._optimizer.register_step_post_hook(self._after_step),
        ]

    def stop(self) -> None:
        """Leaves the optimizer as it was."""
        self._depth -= 1
        if self._depth > 0:
            return
        for handle in self._handles:
            handle.remove()
        self._handles, self._before = [], []

    # Copying a weight and taking two norms costs as much as a part of an optimizer's step; so each
    # step looks at some of the weights, and most steps of small networks at none.
    @not_compiled
    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._identities() != self._trained:
            self._find_weights()  # networks grow in mid-training, and Parameters are replaced
        if self.steps >= self._next:
            due = [track for track in self._watched if track.next <= self.steps]
            self._before = [(track, track.weight.parameter.detach().clone()) for track in due]

    @not_compiled
    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._before:
            with torch.no_grad():
                for track, before in self._before:
                    track.add(self.steps, before)
            self._before = []
            self._next = min(track.next for track in self._watched)
        self.steps += 1

    def _identities(self) -> list[int]:
        return [id(p) for group in self._optimizer.param_groups for p in group["params"]]

    def _find_weights(self) -> None:
        self._trained = self._identities()
        constants = {
            parameter: scale_of(group)
            for group in self._optimizer.param_groups
            for parameter in group["params"]
        }
        self._watched = []
        for name, layer, own, parameter in _weights(self._module):
            if parameter not in constants:
                continue
            explicit, implicit = scales_of(layer).get(own), constants[parameter]
            scale = explicit or (implicit if implicit != 1 else None)
            weight = Weight(name, type(layer).__name__, scale, parameter)
            if name not in self.tracks:
                turn = len(self.tracks) % self._every
                self.tracks[name] = Track(weight, self._every, self.steps + turn)
            self.tracks[name].weight = weight
            self._watched.append(self.tracks[name])
        self._next = self.steps


def _weights(module: nn.Module) -> Iterator[tuple[str, nn.Module, str, Tensor]]:
    """Every parameter of two or more axes: matrices, kernels, tables; no biases and norms."""
    earlier: set[Tensor] = set()
    for slot in slots_of(module):
        parameter = slot.find()
        if parameter is None or is_lazy(parameter) or parameter.ndim < 2 or parameter in earlier:
            continue
        earlier.add(parameter)  # a tied weight has the first of its names
        yield slot.qualified_name, slot.module, slot.name, parameter
