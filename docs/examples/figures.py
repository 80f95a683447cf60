"""The two pictures: samples beside real digits, and the relative step of every layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import torch
from torch import Tensor

mpl.use("Agg")
from matplotlib import pyplot as plt

COLUMNS = 12
POINTS = 50
STYLES = ("-", "--", ":", "-.")


def draw_samples(rows: Mapping[int, tuple[Tensor, Tensor]], path: Path) -> None:
    """For each resolution, generated images on the left and real ones on the right."""
    figure, axes = plt.subplots(len(rows), 2, figsize=(10, 1.5 * len(rows) + 0.4), squeeze=False)
    for (size, images), pair in zip(rows.items(), axes, strict=True):
        for axis, title, part in zip(pair, ("generated", "real"), images, strict=True):
            axis.imshow(_grid(part), cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
            axis.set_title(f"{size} x {size}, {title}", fontsize=9)
            axis.axis("off")
    _save(figure, path)


def draw_relative_steps(runs: Mapping[str, Mapping[str, Sequence[float]]], path: Path) -> None:
    """A panel for each run, a line for each layer, the steps on a logarithmic axis."""
    figure, axes = plt.subplots(
        1, len(runs), figsize=(5 * len(runs), 4), sharey=True, squeeze=False
    )
    for axis, (title, layers) in zip(axes[0], runs.items(), strict=True):
        shades = plt.get_cmap("viridis")
        for number, (name, steps) in enumerate(layers.items()):
            position = number / max(1, len(layers) - 1)
            means = [part.nanmean().item() for part in torch.tensor(steps).chunk(POINTS)]
            at = [(k + 0.5) / len(means) for k in range(len(means))]
            style = STYLES[number % len(STYLES)]
            axis.plot(at, means, style, color=shades(0.85 * position), lw=1.1, label=name)
        axis.set(title=title, xlabel="share of the training", yscale="log")
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("relative step of the effective weight")
    axes[0][-1].legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    _save(figure, path)


def _grid(images: Tensor) -> Tensor:
    """Two rows of images side by side."""
    framed = [image[0].cpu() for image in images[: 2 * COLUMNS]]
    upper, lower = framed[:COLUMNS], framed[COLUMNS:]
    return torch.cat([torch.cat(row, dim=1) for row in (upper, lower)], dim=0)


def _save(figure: plt.Figure, path: Path) -> None:
    figure.patch.set_facecolor("white")
    figure.tight_layout()
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)
