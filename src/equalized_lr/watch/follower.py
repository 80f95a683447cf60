"""How far each step of an optimizer moves each weight, sampled, in bounded memory."""

import math
import statistics
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from equalized_lr.handover.groups import scale_of
from equalized_lr.handover.stepping import not_compiled
from equalized_lr.plan.slots import Slot, slots_of
from equalized_lr.tensors import norm

POINTS = 256  # samples that are kept of each weight; an even number


class Track:
    """The relative steps of one weight.

    Note [Bounded memory]: when there are `POINTS` samples, neighbours are merged into their mean,
    and from then on half as many are taken. So a training of any length fits, evenly spaced.

    Attributes:
        slot: where the weight was found last; its scale is that of its group if it has none.
        parameter: what the optimizer trains.
        next: the step that is to be sampled next.
    """

    def __init__(self, slot: Slot, parameter: Tensor, every: int, first: int) -> None:
        self.slot, self.parameter, self.next = slot, parameter, first
        self._every = every
        self._samples: list[tuple[int, Tensor]] = []

    def add(self, step: int, before: Tensor) -> None:
        """Takes the step from what the weight was before it to what it is now."""
        self._samples.append((step, relative_step(before, self.parameter.detach())))
        if len(self._samples) == POINTS:
            pairs = zip(self._samples[::2], self._samples[1::2], strict=True)
            self._samples = [(at, (one + other) / 2) for (at, one), (_, other) in pairs]
            self._every *= 2
        self.next = step + self._every

    def points(self) -> list[tuple[int, float]]:
        """Steps and relative steps; a weight that was zero had none, nor one that is not finite."""
        numbers = [(step, float(ratio)) for step, ratio in self._samples]
        return [(step, ratio) for step, ratio in numbers if math.isfinite(ratio)]

    def median(self) -> float | None:
        """The median of the relative steps, if there are any."""
        points = self.points()
        return statistics.median(ratio for _, ratio in points) if points else None

    def has_diverged(self) -> bool:
        """Whether the weight was seen with values that are not finite."""
        return any(not float(ratio) < math.inf for _, ratio in self._samples)


def relative_step(before: Tensor, after: Tensor) -> Tensor:
    """The norm of the difference in units of the norm before, on the weight's own device.

    A constant c is a factor of both norms: stored and effective weights have the same. It is
    -inf for a weight that was zero, and inf or NaN for one that is no longer finite.
    """
    size = norm(before)
    return torch.where(size == 0, -math.inf, norm(after - before) / size)


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
        self._trained: dict[int, float] = {}
        self._watched: list[Track] = []
        self._before: list[tuple[Track, Tensor]] = []
        self._handles: list[list[RemovableHandle]] = []

    def start(self) -> None:
        """Begins to watch, or goes on; the outermost of nested blocks has the hooks."""
        self._find_weights()
        self._handles.append([] if self._handles else self._hooks())

    def stop(self) -> None:
        """Leaves the optimizer as it was."""
        for handle in self._handles.pop():
            handle.remove()
        self._before = []

    def _hooks(self) -> list[RemovableHandle]:
        before = self._optimizer.register_step_pre_hook(self._before_step)
        return [before, self._optimizer.register_step_post_hook(self._after_step)]

    # Copying a weight and taking two norms costs as much as a part of an optimizer's step; so each
    # step looks at some of the weights, and most steps of small networks at none.
    @not_compiled
    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._constants() != self._trained:
            self._find_weights()  # networks grow in mid-training, and Parameters are replaced
        due = [track for track in self._watched if track.next <= self.steps]
        self._before = [(track, track.parameter.detach().clone()) for track in due]

    @not_compiled
    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        with torch.no_grad():
            for track, before in self._before:
                track.add(self.steps, before)
        self._before = []
        self.steps += 1

    def _constants(self) -> dict[int, float]:
        """c of the group of each parameter that the optimizer trains, by its id."""
        groups = self._optimizer.param_groups
        return {id(p): scale_of(group) for group in groups for p in group["params"]}

    def _find_weights(self) -> None:
        """Matrices, kernels and tables, each under the first of its names; no biases and norms."""
        self._trained, self._watched = self._constants(), []
        rest = dict(self._trained)
        for slot in slots_of(self._module):
            parameter = slot.find()
            c = rest.pop(id(parameter), None)
            if parameter is None or c is None or parameter.ndim < 2:  # a lazy one has one axis
                continue
            weight = slot._replace(scale=slot.scale or (c if c != 1 else None))
            turn = len(self.tracks) % self._every
            fresh = Track(weight, parameter, self._every, self.steps + turn)
            track = self.tracks.setdefault(weight.qualified_name, fresh)
            track.slot, track.parameter = weight, parameter
            self._watched.append(track)
