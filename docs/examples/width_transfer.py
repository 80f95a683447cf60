"""Does the best learning rate move with the width? Plain, equalized, and with lr_mul of the fan.

    python docs/examples/width_transfer.py [--widths 64 256 1024] [--steps N] [--out FOLDER]

Trains a perceptron on handwritten digits with Adam, at each width over a row of learning rates, and
writes width_transfer.png and a table of the best ones. Takes about five minutes on two cores.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
from collections.abc import Callable
from pathlib import Path

import digit_steps
import digits
import matplotlib as mpl
import options as shared
import torch
from torch import Tensor, nn
from torch.optim import Adam
from tqdm import tqdm

from equalized_lr import equalize_lr

mpl.use("Agg")
from matplotlib import pyplot as plt

SEEDS = (0, 1)
Losses = dict[str, dict[int, list[float]]]


def plain(net: nn.Sequential) -> None:
    """PyTorch's own initialization, one rate for all."""


def equalized(net: nn.Sequential) -> None:
    equalize_lr(net[-1], gain=1.0)
    equalize_lr(net)


def with_lr_mul(net: nn.Sequential) -> None:
    """muP's rates for Adam: a step of an effective weight is proportional to 1 / fan_in."""
    equalize_lr(net[-1], gain=1.0, lr_mul=lambda fan: fan**-0.5)
    equalize_lr(net, lr_mul=lambda fan: fan**-0.5)


# Rates are spread around those at which each form trains; factors of two.
FORMS: dict[str, tuple[Callable[[nn.Sequential], None], list[float]]] = {
    "plain": (plain, [2.0**k for k in range(-15, -5)]),
    "equalized": (equalized, [2.0**k for k in range(-12, -2)]),
    "lr_mul = fan ** -0.5": (with_lr_mul, [2.0**k for k in range(-7, 3)]),
}


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    shared.use(options)
    images, labels = digits.load()
    data = images.flatten(1), labels
    losses: Losses = {form: {} for form in FORMS}
    runs = list(itertools.product(FORMS, options.widths))
    for form, width in tqdm(runs, disable=options.quiet):
        prepare, rates = FORMS[form]
        losses[form][width] = [
            statistics.fmean(
                final_loss(build(prepare, width, seed), rate, options.steps, data) for seed in SEEDS
            )
            for rate in rates
        ]
    print(table(losses))
    draw(losses, options.out / "width_transfer.png")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = shared.parser(__doc__)
    shared.add_out(parser)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256, 512, 1024])
    parser.add_argument("--steps", type=int, default=60)
    return parser.parse_args(arguments)


def build(prepare: Callable[[nn.Sequential], None], width: int, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    sizes = [digits.SIDE**2, width, width, width]
    hidden = [(nn.Linear(into, out), nn.ReLU()) for into, out in itertools.pairwise(sizes)]
    net = nn.Sequential(*itertools.chain(*hidden), nn.Linear(width, 10))
    prepare(net)
    return net


def final_loss(net: nn.Sequential, rate: float, steps: int, data: tuple[Tensor, Tensor]) -> float:
    """The mean training loss over the last quarter of the steps; infinite if it explodes."""
    seen = digit_steps.train(net, Adam(net.parameters(), lr=rate), steps, data)
    last = seen[-max(1, steps // 4) :]
    return sum(last) / len(last) if all(map(math.isfinite, last)) else math.inf


def table(losses: Losses) -> str:
    """The best rate of each form at each width, as a power of two, and its loss."""
    lines = []
    for form, by_width in losses.items():
        rates = FORMS[form][1]
        cells = [
            f"2^{math.log2(rates[best(row)]):.0f} ({min(row):.2f})" for row in by_width.values()
        ]
        if not lines:
            widths = [f"width {width}" for width in by_width]
            lines += [["best learning rate (loss)", *widths], ["---"] * (1 + len(widths))]
        lines.append([form, *cells])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def best(row: list[float]) -> int:
    return row.index(min(row))


def draw(losses: Losses, path: Path) -> None:
    figure, axes = plt.subplots(1, len(losses), figsize=(4 * len(losses), 3.4), sharey=True)
    for axis, (form, by_width) in zip(axes, losses.items(), strict=True):
        rates, shades = FORMS[form][1], plt.get_cmap("viridis")
        for number, (width, row) in enumerate(by_width.items()):
            color = shades(0.85 * number / max(1, len(by_width) - 1))
            axis.plot(rates, row, "o-", color=color, ms=3, lw=1.1, label=f"{width}")
            axis.plot(rates[best(row)], min(row), "o", color=color, ms=8, mfc="none")
        axis.set(title=form, xlabel="learning rate", xscale="log", ylim=(0, 2.5))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("training loss")
    axes[-1].legend(title="width", fontsize=7, frameon=False)
    figure.patch.set_facecolor("white")
    figure.tight_layout()
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)


if __name__ == "__main__":
    main()
