"""The picture of `LearningSpeed`; matplotlib is imported only when one is asked for."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from equalized_lr.optional import needed
from equalized_lr.watch.report import short_name

if TYPE_CHECKING:
    from os import PathLike

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CUSTOMARY = 1e-3  # the customary healthy ratio of an update to its weight
MOST_LABELS = 12  # what a legend can hold
LEAST_BLOCKS = 3  # fewer would tell nothing
STYLES = ("-", "--", ":", "-.")
NAME = 32  # the longest name in a legend
GREY = "0.5"  # legible on white and on black
Points = Sequence[tuple[int, float]]


def plot_speeds(
    relative_steps: Mapping[str, Points],
    title: str,
    path: str | PathLike[str] | None,
    axes: Axes | None,
) -> Figure:
    """A line for each weight over the steps, on a logarithmic axis.

    Many weights are coloured by their blocks, and the fastest and the slowest one are named. The
    ground is transparent, and all text grey: for light pages and dark ones.
    """
    plt = needed("matplotlib.pyplot", "a picture", "take the numbers from table()")
    moves = {
        name: [(step, value) for step, value in points if value > 0]
        for name, points in relative_steps.items()
    }
    lines = {name: points for name, points in moves.items() if points}
    alone = axes is None
    if axes is None:
        _, axes = plt.subplots(figsize=(8, 4.5), facecolor="none", layout="constrained")
    figure = cast("Figure", axes.figure)
    blocks = blocks_of(list(lines))
    if len(lines) <= MOST_LABELS:
        _draw_each(axes, lines, plt.get_cmap("viridis"))
    else:
        _draw_blocks(axes, lines, blocks, plt.get_cmap("viridis"))
    customary = "10$^{-3}$: customary in mid-training"
    axes.axhline(CUSTOMARY, color=GREY, lw=0.8, zorder=0, label=customary)
    axes.set(title=title, xlabel="step", ylabel="relative step", yscale="log")
    axes.grid(alpha=0.3)
    if alone:
        _finish(axes, len(lines), len(set(blocks.values())))
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
        if len(set(modules.values())) < LEAST_BLOCKS:
            break
        blocks = modules
        if len(set(modules.values())) <= most:
            break
    order = list(dict.fromkeys(blocks.values()))
    if len(order) <= most:
        return blocks
    size = -(-len(order) // most)
    rows = [order[start : start + size] for start in range(0, len(order), size)]
    labels = {block: f"{row[0]} to {row[-1]}" for row in rows for block in row}
    return {name: labels[block] for name, block in blocks.items()}


def _draw_each(axes: Axes, lines: Mapping[str, Points], shades: Any) -> None:
    # Dark to light in the model's order, with patterns: legible in grey, too.
    for number, (name, points) in enumerate(lines.items()):
        style = STYLES[number % len(STYLES)]
        color = _shade(shades, number, len(lines))
        _draw(axes, points, style, color=color, lw=1.3, label=short_name(name, NAME))


def _draw_blocks(
    axes: Axes, lines: Mapping[str, Points], blocks: Mapping[str, str], shades: Any
) -> None:
    order, sizes = list(dict.fromkeys(blocks.values())), Counter(blocks.values())
    speeds = {name: statistics.median(value for _, value in lines[name]) for name in lines}
    extremes = {
        max(speeds, key=speeds.__getitem__): "fastest",
        min(speeds, key=speeds.__getitem__): "slowest",
    }
    fresh = set(order)
    for name, points in lines.items():
        block = blocks[name]
        label = f"{block or 'the model itself'}: {sizes[block]}" if block in fresh else None
        fresh.discard(block)
        color = _shade(shades, order.index(block), len(order))
        _draw(axes, points, "-", color=color, lw=0.8, label=label)
    for name, which in extremes.items():
        style = "--" if which == "fastest" else ":"
        _draw(
            axes,
            lines[name],
            style,
            color="tab:red",
            lw=1.8,
            label=f"{which}: {short_name(name, NAME)}",
        )


def _draw(axes: Axes, points: Points, style: str, **line: Any) -> None:
    axes.plot(*zip(*points, strict=True), style, marker="." if len(points) < 2 else None, **line)


def _shade(shades: Any, number: int, count: int) -> Any:
    """Neither so dark nor so light that it is lost on black or on white."""
    return shades(0.25 + 0.6 * number / max(1, count - 1))


def _finish(axes: Axes, lines: int, blocks: int) -> None:
    """Grey text, and a legend beside the picture that says what stands for what."""
    axes.patch.set_alpha(0)
    axes.tick_params(which="both", colors=GREY)
    for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
        text.set_color(GREY)
    for spine in axes.spines.values():
        spine.set_color(GREY)
    axes.legend(
        title=None if lines <= MOST_LABELS else f"all {lines} weights, in {blocks} blocks",
        fontsize=7,
        title_fontsize=7,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        frameon=False,
        labelcolor=GREY,
    )
    title = axes.get_legend().get_title()  # type: ignore[union-attr,unused-ignore]
    title.set_color(GREY)
