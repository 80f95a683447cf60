"""How the time of wrapping, removing and handing over grows with the number of layers.

    python docs/examples/growth.py [--layers 1000 2000 4000 8000 16000 20000] [--out FOLDER]

Prints a table in units of the time that building the layers took, and draws growth.png. Takes about
a minute.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import options as shared
from torch import nn
from torch.optim import Adam
from tqdm import tqdm

from equalized_lr import equalize_lr, he_scales, remove_equalized_lr
from equalized_lr.optim import param_groups

mpl.use("Agg")
from matplotlib import pyplot as plt

TIMES = 3


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    shared.use(options)
    layers = tqdm(options.layers, disable=options.quiet)
    measured = {count: measure(count) for count in layers}
    names = list(next(iter(measured.values())))
    print(line(["layers", *names]))
    print(line(["---"] * (1 + len(names))))
    for count, seconds in measured.items():
        ratios = [f"{seconds[name] / seconds['build']:.2f}" for name in names[1:]]
        print(line([str(count), f"{seconds['build']:.2f} s", *ratios]))
    draw(measured, options.out / "growth.png")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = shared.parser(__doc__)
    shared.add_out(parser)
    parser.add_argument("--layers", type=int, nargs="+", default=[1000, 2500, 5000, 10000, 20000])
    return parser.parse_args(arguments)


def measure(count: int) -> dict[str, float]:
    """The median seconds of each operation on so many small layers."""
    runs = [measure_once(count) for _ in range(TIMES)]
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def measure_once(count: int) -> dict[str, float]:
    seconds: dict[str, float] = {}

    def timed(name: str, action: Callable[[], object]) -> object:
        started = time.perf_counter()
        result = action()
        seconds[name] = time.perf_counter() - started
        return result

    net = timed("build", lambda: nn.Sequential(*(nn.Linear(8, 8) for _ in range(count))))
    assert isinstance(net, nn.Module)
    timed("equalize_lr", lambda: equalize_lr(net))
    timed("he_scales", lambda: he_scales(net))
    timed("remove_equalized_lr", lambda: remove_equalized_lr(net))
    timed("equalize_lr, keep", lambda: equalize_lr(net, init="keep"))
    optimizer = Adam(net.parameters())
    timed("hand-over", lambda: remove_equalized_lr(net, optimizer=optimizer))
    timed("param_groups", lambda: param_groups(Adam, net, lr=1e-3))
    return seconds


def draw(measured: dict[int, dict[str, float]], path: Path) -> None:
    figure, axis = plt.subplots(figsize=(6, 4))
    styles = ("-", "--", ":", "-.")
    for number, name in enumerate(next(iter(measured.values()))):
        seconds = [run[name] for run in measured.values()]
        shade = plt.get_cmap("viridis")(0.12 * number)
        axis.plot(list(measured), seconds, styles[number % 4], marker="o", color=shade, label=name)
    axis.set(xlabel="layers", ylabel="seconds", xlim=0, ylim=0)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, frameon=False)
    figure.patch.set_facecolor("white")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
