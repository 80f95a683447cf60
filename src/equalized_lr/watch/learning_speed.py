"""`LearningSpeed`: how fast each layer of a model learns, seen while it trains."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple, Self

from torch import nn
from torch.optim import Optimizer

from equalized_lr.arguments import refuse_non_module
from equalized_lr.errors import InvalidArgument, NothingMeasured, NothingToFollow
from equalized_lr.handover.stepping import optimizers_of, unwrapped
from equalized_lr.watch.follower import Follower, Track
from equalized_lr.watch.notes import FAR
from equalized_lr.watch.report import Report
from equalized_lr.watch.speed_plot import plot_speeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Speed(NamedTuple):
    """How fast one weight learns.

    Attributes:
        name: its plain qualified name.
        layer: the class of its layer.
        shape: its shape.
        scale: its c in the explicit or implicit form, None for a plain weight.
        relative_step: the median of its relative steps; None if none was seen.
        note: what a practitioner would want to know.
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    scale: float | None
    relative_step: float | None
    note: str


class Speeds(Report[Speed]):
    """The table of `LearningSpeed`."""

    heads = ("weight", "layer", "shape", "c", "rel. step", "note")
    attributes = Speed._fields

    def cells(self, row: Speed) -> list[str]:
        """The texts of one row; the foot says what notes are in units of."""
        *others, note = super().cells(row)
        return [*others, note.removesuffix(" times the median").removesuffix(" of the median")]


class LearningSpeed:
    """Follows a training, and says how far each step moves each weight, relative to its size.

    The relative step of a weight is ‖Δŵ‖ / ‖ŵ‖: how much of the weight one optimizer step replaces,
    taken from the weights themselves, so that it holds for every optimizer, form and schedule. With
    equal ones all layers learn at the same speed (PGGAN, section 4.1). A customary healthy value is
    10**-3; what counts here is whether the layers are close together.

    Example:
        >>> net = equalize_lr(nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 2)))
        >>> optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
        >>> with LearningSpeed(net, optimizer) as speed:
        ...     for _ in range(40):
        ...         optimizer.zero_grad()
        ...         net(torch.randn(32, 8)).square().mean().backward()
        ...         _ = optimizer.step()
        >>> [row.name for row in speed.table()], speed.spread < 1.5
        (['0.weight', '2.weight'], True)

    It follows every parameter of two or more axes that the optimizer trains; biases and the gains
    of norm layers, which begin at zero and one, have no speed to compare. To be cheap it looks at
    each weight in one of `every` steps only, the weights taking turns; to fit into memory it
    merges neighbouring samples of long trainings.

    Args:
        module: plain, equalized or mixed.
        optimizer: what trains it: one, or several for its parts.
        every: each weight is looked at in one of so many steps.

    Raises:
        InvalidArgument: `optimizer` is no torch optimizer, `every` is no positive number, or, on
            entering, two optimizers train the same weight.
        NothingToFollow: on entering, if no weight of the module is trained by the optimizer.
    """

    def __init__(
        self, module: nn.Module, optimizer: Optimizer | Sequence[Optimizer], *, every: int = 20
    ) -> None:
        refuse_non_module(module)
        if not isinstance(every, int) or every < 1:
            raise InvalidArgument("every", every, "a positive whole number of steps")
        optimizers = optimizers_of(optimizer)
        if not optimizers:
            raise InvalidArgument("optimizer", optimizer, "at least one")
        self._optimizers = [unwrapped(each) for each in optimizers]
        self._module = module
        self._followers = [Follower(module, each, every) for each in self._optimizers]

    def __enter__(self) -> Self:
        for follower in self._followers:
            follower.start()
        count = sum(len(follower.tracks) for follower in self._followers)
        if count and count == len(self._tracks()):
            return self
        self.__exit__()
        optimizers = " and ".join(type(each).__name__ for each in self._optimizers)
        if count:
            raise InvalidArgument("optimizer", optimizers, "optimizers that share no weight")
        raise NothingToFollow(type(self._module).__name__, optimizers)

    def __exit__(self, *error: object) -> None:
        for follower in self._followers:
            follower.stop()

    @property
    def steps(self) -> int:
        """How many steps were seen, of the optimizer that made most."""
        return max(follower.steps for follower in self._followers)

    @property
    def relative_steps(self) -> dict[str, list[tuple[int, float]]]:
        """The samples of each weight, as pairs of the step's number, from 0, and ‖Δŵ‖ / ‖ŵ‖."""
        return {name: track.points() for name, track in self._tracks().items()}

    @property
    def spread(self) -> float:
        """How many times as fast as the slowest weight the fastest one is, by their medians.

        Weights that do not move at all, such as those of dead layers, only the table names.

        Raises:
            NothingMeasured: no step was seen in which a weight moved.
        """
        speeds = list(self._moving().values())
        if not speeds:
            raise NothingMeasured(self.steps)
        return speeds[0] / speeds[-1]

    def table(self) -> Speeds:
        """One row for each weight, in the model's order: a table, and rows for programs."""
        usual = statistics.median(self._moving().values() or [0.0])
        rows = [
            Speed(
                name=name,
                layer=type(track.slot.module).__name__,
                shape=tuple(track.parameter.shape),
                scale=track.slot.scale,
                relative_step=track.median(),
                note=_note(track, usual),
            )
            for name, track in self._tracks().items()
        ]
        foot = [self._summary()]
        if any("median" in row.note for row in rows):
            foot.append(f"fast, slow: in units of the median, {usual:.3g}")
        return Speeds(rows, foot)

    def plot(self, path: str | PathLike[str] | None = None, *, axes: Axes | None = None) -> Figure:
        """Draws the relative steps over the training, one line for each weight.

        Args:
            path: a file to write the picture to, in the format that its name says.
            axes: where to draw, and the legend is yours; a new figure if left out.

        Raises:
            MissingPackage: matplotlib is not installed.
            NothingMeasured: no step was seen in which a weight moved.
        """
        title = f"spread {self.spread:.3g}"
        return plot_speeds(self.relative_steps, list(self._moving()), title, path, axes)

    def __repr__(self) -> str:
        return f"LearningSpeed: {self._summary()}"

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def _tracks(self) -> dict[str, Track]:
        followers = self._followers
        return {name: track for each in followers for name, track in each.tracks.items()}

    def _moving(self) -> dict[str, float]:
        """The relative steps of the weights that move, the fastest first."""
        medians = ((name, track.median()) for name, track in self._tracks().items())
        moving = [(name, median) for name, median in medians if median]
        return dict(sorted(moving, key=lambda pair: pair[1], reverse=True))

    def _summary(self) -> str:
        names = list(self._moving())
        if not names:
            return f"{self.steps} steps, no weight was seen to move yet"
        ends = f"{names[0]} is the fastest, {names[-1]} the slowest"
        return f"{self.steps} steps, spread {self.spread:.3g}: {ends}"


def _note(track: Track, usual: float) -> str:
    if track.has_diverged():
        return "not finite"
    speed = track.median()
    if speed is None:
        return "no step seen"
    if speed == 0:
        return "does not move"
    if speed > FAR * usual:
        return f"fast: {_two_digits(speed / usual)} times the median"
    if speed < usual / FAR:
        return f"slow: 1/{_two_digits(usual / speed)} of the median"
    return ""


def _two_digits(factor: float) -> str:
    return f"{float(f'{factor:.2g}'):g}"
