"""How fast each layer of one small network learns, in five ways of training it.

    python docs/examples/learning_speed.py [--steps N] [--out FOLDER]

Trains a classifier of handwritten digits with PyTorch's own initialization, with He's, equalized in
the explicit and in the implicit form, and with LREQAdam, each at the best of a row of learning
rates. Writes learning_speed.png, and prints a table. Takes less than a minute on two cores.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import digit_steps
import digits
import matplotlib as mpl
import options as shared
import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from tqdm import tqdm

from equalized_lr import LearningSpeed, equalize_lr
from equalized_lr.optim import LREQAdam, implicit, init_

mpl.use("Agg")
from matplotlib import pyplot as plt


class Run(NamedTuple):
    rate: float
    losses: list[float]
    speed: LearningSpeed

    @property
    def loss(self) -> float:
        """The mean over the last fifth of the steps."""
        return statistics.fmean(self.losses[-max(1, len(self.losses) // 5) :])


def network() -> nn.Sequential:
    """Layers with 9 to 1568 connections into one response."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.LeakyReLU(0.2),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(32 * 49, 64), nn.LeakyReLU(0.2),
        nn.Linear(64, 10),
    )  # fmt: skip


def default(net: nn.Sequential, lr: float) -> Optimizer:
    return Adam(net.parameters(), lr=lr)


def he(net: nn.Sequential, lr: float) -> Optimizer:
    return Adam(init_(net).parameters(), lr=lr)


def explicit(net: nn.Sequential, lr: float) -> Optimizer:
    return Adam(equalize_lr(net).parameters(), lr=lr)


def without_hook(net: nn.Sequential, lr: float) -> Optimizer:
    return implicit(Adam, init_(net), lr=lr)


def lreq_adam(net: nn.Sequential, lr: float) -> Optimizer:
    return implicit(LREQAdam, init_(net), lr=lr)


# Rates of plain weights are smaller: their steps are not in units of the weight.
PLAIN = [2.0**k for k in (-12, -10, -8, -6)]
EQUALIZED = [2.0**k for k in (-8, -6, -4, -2)]
FORMS: dict[str, tuple[Callable[[nn.Sequential, float], Optimizer], list[float]]] = {
    "plain, PyTorch's init": (default, PLAIN),
    "plain, He's init": (he, PLAIN),
    "equalized, explicit": (explicit, EQUALIZED),
    "equalized, implicit": (without_hook, EQUALIZED),
    "LREQAdam": (lreq_adam, EQUALIZED),
}


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    shared.use(options)
    data = digits.load()
    trials = [(form, rate) for form, (_, rates) in FORMS.items() for rate in rates]
    runs: dict[str, list[Run]] = {form: [] for form in FORMS}
    for form, rate in tqdm(trials, disable=options.quiet):
        runs[form].append(train(FORMS[form][0], rate, options.steps, data))
    best = {form: min(row, key=lambda run: run.loss) for form, row in runs.items()}
    print(table(best))
    print(f"\nAt {best['equalized, explicit'].rate:g}, equalized, explicit:")
    print(best["equalized, explicit"].speed.table())
    draw(best, options.out / "learning_speed.png")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = shared.parser(__doc__)
    shared.add_out(parser)
    parser.add_argument("--steps", type=int, default=200)
    return parser.parse_args(arguments)


def train(
    prepare: Callable[[nn.Sequential, float], Optimizer],
    rate: float,
    steps: int,
    data: tuple[Tensor, Tensor],
) -> Run:
    torch.manual_seed(0)
    net = network()
    optimizer = prepare(net, rate)
    with LearningSpeed(net, optimizer, every=4) as speed:
        losses = digit_steps.train(net, optimizer, steps, data)
    return Run(rate, losses, speed)


def table(runs: dict[str, Run]) -> str:
    rows = [("form", "best rate", "loss", "spread", "slowest layer", "fastest layer"), ("---",) * 6]
    for form, run in runs.items():
        order = sorted(run.speed.table(), key=lambda row: row.relative_step or 0)
        ends = [f"{row.name}, {row.relative_step:.1e}" for row in (order[0], order[-1])]
        numbers = f"2^{math.log2(run.rate):.0f}", f"{run.loss:.2f}", f"{run.speed.spread:.1f}"
        rows.append((form, *numbers, *ends))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def draw(runs: dict[str, Run], path: Path) -> None:
    """The speeds of the layers, one panel for each form, and the losses in the last one."""
    figure, axes = plt.subplots(2, 3, figsize=(12, 6.4), layout="constrained", facecolor="white")
    *panels, last = axes.flat
    for (form, run), axis in zip(runs.items(), panels, strict=True):
        run.speed.plot(axes=axis)
        axis.set(title=f"{form}, spread {run.speed.spread:.1f}", ylim=(1e-4, 1))
    panels[0].legend(fontsize=8, frameon=False)
    styles, shades = ("-", "--", "-", "--", ":"), plt.get_cmap("viridis")
    for number, ((form, run), style) in enumerate(zip(runs.items(), styles, strict=True)):
        means = [statistics.fmean(run.losses[max(0, k - 9) :][:10]) for k in range(len(run.losses))]
        last.plot(means, style, color=shades(0.22 * number), label=form)
    last.set(title="training loss", xlabel="step", yscale="log")
    last.legend(fontsize=8, frameon=False)
    last.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
