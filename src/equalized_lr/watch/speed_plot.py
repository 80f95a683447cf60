"""The picture of `LearningSpeed`; matplotlib is imported only when one is asked for."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from equalized_lr.optional import needed

if TYPE_CHECKING:
    from os import PathLike

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

USUAL = 1e-3  # the customary healthy ratio of an update to its weight
NAMED = 12  # lines that a legend can hold
STYLES = ("-", "--", ":", "-.")
Points = Sequence[tuple[int, float]]


def draw(
    relative_steps: Mapping[str, Points],
    title: str,
    path: str | PathLike[str] | None,
    axes: Axes | None,
) -> Figure:
    """A line for each weight over the steps, on a logarithmic axis."""
    plt = needed("matplotlib.pyplot", "a picture", "take the numbers from table()")
    lines = {
        name: [(step, value) for step, value in points if value > 0]
        for name, points in relative_steps.items()
    }
    lines = {name: points for name, points in lines.items() if points}
    alone = axes is None
    if axes is None:
        _, axes = plt.subplots(figsize=(8, 4.5), facecolor="white", layout="constrained")
    figure = cast("Figure", axes.figure)
    # Dark to light in the model's order, with patterns: legible in grey, too.
    shades, named = plt.get_cmap("viridis"), _named(lines)
    for number, (name, points) in enumerate(lines.items()):
        axes.plot(
            *zip(*points, strict=True),
            STYLES[number % len(STYLES)],
            color=shades(0.85 * number / max(1, len(lines) - 1)),
            lw=1.3,
            marker="." if len(points) < 2 else None,
            label=name if name in named else None,
        )
    axes.axhline(USUAL, color="0.5", lw=0.8, zorder=0)
    axes.annotate(
        "10$^{-3}$", (1, USUAL), xycoords=("axes fraction", "data"), color="0.4", va="center"
    )
    axes.set(title=title, xlabel="step", ylabel="relative step", yscale="log")
    axes.grid(alpha=0.3)
    if alone:
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.06, 0.5), frameon=False)
    if path is not None:
        figure.savefig(path, dpi=110)
        plt.close(figure)
    return figure


def _named(lines: Mapping[str, Points]) -> list[str]:
    """All names, or those of the fastest and the slowest where they are too many."""
    order = sorted(lines, key=lambda name: statistics.median(value for _, value in lines[name]))
    half = NAMED // 2
    return order if len(order) <= NAMED else [*order[:half], *order[-half:]]
