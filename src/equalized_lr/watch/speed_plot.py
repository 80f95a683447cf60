"""The picture of `LearningSpeed`; matplotlib is imported only when one is asked for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, cast

from equalized_lr.optional import needed
from equalized_lr.watch.report import short_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CUSTOMARY = 1e-3  # the customary healthy ratio of an update to its weight
MOST_LABELS = 12  # what a legend can hold
LEAST_BLOCKS = 3  # fewer would tell nothing
STYLES = ("-", "--", ":", "-.")
NAME = 32  # the longest name in a legend
GREY = "0.5"  # legible on white and on black
LOOK = {
    "figure.figsize": (8, 4.5),
    "figure.facecolor": "none",
    "figure.constrained_layout.use": True,
    "axes.facecolor": "none",
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "axes.titlecolor": GREY,
    "text.color": GREY,
    "legend.labelcolor": GREY,
    "legend.fontsize": 7,
    "legend.title_fontsize": 7,
    "legend.frameon": False,
}
Points = Sequence[tuple[int, float]]


def plot_speeds(
    relative_steps: Mapping[str, Points],
    fastest_first: Sequence[str],
    title: str,
    path: str | PathLike[str] | None,
    axes: Axes | None,
) -> Figure:
    """A line for each weight over the steps, on a logarithmic axis.

    Many weights are coloured by their blocks, and the fastest and the slowest one are named. The
    ground is transparent, and all text grey: for light pages and dark ones.
    """
    plt = needed("matplotlib.pyplot", "a picture", "take the numbers from table()")
    moves = {name: [at for at in points if at[1] > 0] for name, points in relative_steps.items()}
    lines = {name: points for name, points in moves.items() if points}
    many = len(lines) > MOST_LABELS
    blocks = blocks_of(list(lines)) if many else {name: name for name in lines}
    with plt.rc_context(LOOK if axes is None else {}):
        target = plt.subplots()[1] if axes is None else axes
        _draw_lines(target, lines, blocks, plt.get_cmap("viridis"))
        for which, index, style in (("fastest", 0, "--"), ("slowest", -1, ":")) if many else ():
            name = fastest_first[index]
            label = f"{which}: {short_name(name, NAME)}"
            _draw(target, lines[name], style, color="tab:red", lw=1.8, label=label)
        customary = "10$^{-3}$: customary in mid-training"
        target.axhline(CUSTOMARY, color=GREY, lw=0.8, zorder=0, label=customary)
        target.set(title=title, xlabel="step", ylabel="relative step", yscale="log")
        target.grid(alpha=0.3)
        if axes is None:
            target.tick_params(which="both", colors=GREY)
            counts = f"all {len(lines)} weights, in {len(set(blocks.values()))} blocks"
            heading = counts if many else None
            target.legend(title=heading, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    figure = cast("Figure", target.figure)
    if path is not None:
        figure.savefig(path, dpi=110)
        plt.close(figure)
    return figure


def blocks_of(names: Sequence[str]) -> dict[str, str]:
    """For each name the block that it belongs to: a module, or a row of neighbouring modules."""
    most = MOST_LABELS - 2  # the fastest and the slowest weight have labels of their own
    depth = max((name.count(".") for name in names), default=0)
    blocks = {name: name for name in names}
    for length in range(depth, 0, -1):
        modules = {name: ".".join(name.split(".")[:-1][:length]) for name in names}
        count = len(set(modules.values()))
        if count >= LEAST_BLOCKS:
            blocks = modules
        if count <= most:
            break
    order = list(dict.fromkeys(blocks.values()))
    if len(order) <= most:
        return blocks
    size = math.ceil(len(order) / most)
    rows = [order[start : start + size] for start in range(0, len(order), size)]
    labels = {block: f"{row[0]} to {row[-1]}" for row in rows for block in row}
    return {name: labels[block] for name, block in blocks.items()}


def _draw_lines(
    axes: Axes, lines: Mapping[str, Points], blocks: Mapping[str, str], shades: Any
) -> None:
    """Dark to light in the model's order; a few lines have patterns, too: legible in grey."""
    few, sizes = len(lines) <= MOST_LABELS, Counter(blocks.values())
    labels = {
        block: short_name(block, NAME) if few else f"{block or 'the model itself'}: {size}"
        for block, size in sizes.items()
    }
    for name, points in lines.items():
        block = blocks[name]
        number = list(sizes).index(block)
        # Neither so dark nor so light that it is lost on black or on white.
        color = shades(0.25 + 0.6 * number / max(1, len(sizes) - 1))
        style, width = (STYLES[number % len(STYLES)], 1.3) if few else ("-", 0.8)
        _draw(axes, points, style, color=color, lw=width, label=labels.pop(block, None))


def _draw(axes: Axes, points: Points, style: str, **line: Any) -> None:
    axes.plot(*zip(*points, strict=True), style, marker="." if len(points) < 2 else None, **line)
