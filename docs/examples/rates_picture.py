"""The picture of rates.py: a panel for each task, a line for each form."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

STYLES = {
    "plain, torch's init": ("#8a8a8a", "--", "o"),
    "plain, same init": ("#d08a1d", "-", "s"),
    "equalized": ("#2a7fb8", "-", "o"),
}
GREY = "#808080"  # on white and on black


def draw(by_task: Mapping[str, Mapping[str, Mapping[int, Sequence[float]]]], path: Path) -> None:
    """Means of the seeds as lines, their range as a band, on a transparent ground."""
    style = {"text.color": GREY, "axes.labelcolor": GREY, "axes.edgecolor": GREY}
    with plt.rc_context({**style, "xtick.color": GREY, "ytick.color": GREY}):
        columns = min(2, len(by_task))
        lines = math.ceil(len(by_task) / columns)
        figure, axes = plt.subplots(
            lines, columns, figsize=(4.4 * columns, 3.2 * lines), squeeze=False
        )
        for axis in axes.flat[len(by_task) :]:
            axis.remove()
        for axis, (task, rows) in zip(axes.flat, by_task.items(), strict=False):
            limit = _panel(axis, rows)
            what = "distance from real digits" if task == "GAN" else "held-out loss"
            axis.set(title=task, xlabel="learning rate", ylabel=what, xscale="log", ylim=limit)
            axis.grid(alpha=0.25)
            axis.patch.set_alpha(0)
        axes.flat[0].legend(fontsize=8, frameon=False)
        figure.tight_layout()
        figure.savefig(path, dpi=110, transparent=True)
        plt.close(figure)


def _panel(
    axis: plt.Axes, rows: Mapping[str, Mapping[int, Sequence[float]]]
) -> tuple[float, float]:
    best = []
    for form, row in rows.items():
        color, line, marker = STYLES[form]
        rates = [2.0**exponent for exponent in row]
        means = [statistics.fmean(seeds) for seeds in row.values()]
        axis.plot(rates, means, line, color=color, marker=marker, ms=3, lw=1.4, label=form)
        axis.fill_between(
            rates,
            list(map(min, row.values())),
            list(map(max, row.values())),
            color=color,
            alpha=0.2,
        )
        best += sorted(means)[:5]
    low, high = min(best), max(value for value in best if math.isfinite(value))
    return low - 0.1 * (high - low), high + 0.1 * (high - low)
