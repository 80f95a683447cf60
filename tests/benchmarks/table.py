"""Prints how fast this library is beside its rivals, as ratios, with the targets beside them.

    python -m tests.benchmarks.table [--threads 1 2] [--rounds N]

Takes a quarter of an hour. See docs/performance.md for what the rows mean.
"""

import argparse
import sys
from functools import partial

import torch

from equalized_lr import LearningSpeed, cached, remove_equalized_lr
from equalized_lr.optim import implicit
from tests.benchmarks.cases import (
    Gan,
    adam,
    encoder,
    forward,
    forward_and_backward,
    gan_step,
    lstm,
    perceptron,
    tiny,
    training_step,
)
from tests.benchmarks.memory import peak_bytes
from tests.benchmarks.rivals import RIVALS, build
from tests.benchmarks.timing import added, added_ratio, compare, mean_ratio, ratio

OTHERS = ("parametrize", "common hook", "tensor hook")


class Table:
    """Lines of Markdown, printed as they come."""

    def __init__(self, threads):
        self.threads, self.missed, self.met = threads, [], 0
        torch.set_num_threads(threads)

    def row(self, case, what, value, target=None):
        """One ratio, and whether it is as small as it should be."""
        met = "" if target is None else "yes" if value <= target else "no"
        self.met += met == "yes"
        self.missed += [f"{case}: {what}"] if met == "no" else []
        said = "" if target is None else f"{target:g}"
        sys.stdout.write(f"| {case} | {what} | {value:.2f} | {said} | {met} |\n")
        sys.stdout.flush()


def small_layers(table, rounds):
    """What is added to a layer of 16, in units of what others add."""
    x = torch.randn(1, 16)
    cases = {
        "forward": (forward, 1.5, 0.65),
        "forward and backward": (forward_and_backward, None, None),
    }
    for what, (make, by_hand, parametrize) in cases.items():
        makers = {name: lambda name=name, make=make: make(build(name, tiny), x) for name in RIVALS}
        times = compare(makers, count=rounds, repeat=10)
        case = f"20 layers of 16, {what}: added"
        table.row(case, "microseconds a layer", added(times, "equalized") / 20 * 1e6)
        table.row(case, "of by hand", added_ratio(times, "equalized", "by hand"), by_hand)
        for name in OTHERS:
            target = parametrize if name == "parametrize" else None
            table.row(case, f"of {name}", added_ratio(times, "equalized", name), target)


def with_implicit(make, step, names=tuple(RIVALS), **options):
    """Training of all rivals, and of a plain model in the implicit form, and in as many groups."""

    def trained(name):
        model = build(name, make)
        return step(model, adam(model))

    def implicitly():
        model = build("plain", make)
        return step(model, implicit(torch.optim.Adam, model, lr=1e-5, **options))

    def in_groups():
        model = build("plain", make)
        groups = implicit(torch.optim.Adam, model, lr=1e-5, **options).param_groups
        params = [{"params": group["params"]} for group in groups]
        return step(model, torch.optim.Adam(params, lr=1e-5))

    makers = {name: lambda name=name: trained(name) for name in names}
    return makers | {"implicit": implicitly, "in groups": in_groups}


def implicit_rows(table, case, times):
    """The implicit form beside plain training, and what torch takes for as many groups."""
    table.row(case, "implicit, of plain", ratio(times, "implicit", "plain"), 1.02)
    table.row(case, "implicit, of plain in as many groups", ratio(times, "implicit", "in groups"))


def training(table, rounds):
    """Whole steps with Adam, beside layers written by hand."""
    for width, batch in [(128, 1), (128, 64), (512, 1), (512, 64), (2048, 16), (2048, 256)]:
        x = torch.randn(batch, width)
        makers = with_implicit(
            lambda width=width: perceptron(width), lambda m, o, x=x: training_step(m, o, x)
        )
        times = compare(makers, count=rounds if width < 2048 else rounds // 4)
        case = f"training, 3 layers of {width}, batch {batch}"
        target = 1.03 if width >= 512 else None
        table.row(case, "of by hand", ratio(times, "equalized", "by hand"), target)
        for name in (*OTHERS, "plain"):
            table.row(case, f"of {name}", ratio(times, "equalized", name))
        implicit_rows(table, case, times)


def gan(table, rounds):
    """A step of PGGAN's networks with WGAN-GP."""
    times = compare(with_implicit(Gan, gan_step), count=rounds // 4)
    case = "PGGAN's step at 32 x 32, WGAN-GP"
    for name in ("by hand", *OTHERS, "plain"):
        table.row(case, f"of {name}", ratio(times, "equalized", name))
    implicit_rows(table, case, times)


def twenty_scales(table, rounds):
    """Twenty constants make twenty groups."""
    x = torch.randn(16, 512)
    scales = {f"{2 * i}.weight": 0.01 * (i + 1) for i in range(20)}

    makers = with_implicit(
        lambda: perceptron(512, depth=20),
        lambda m, o: training_step(m, o, x),
        ("plain",),
        scales=scales,
    )
    times = compare(makers, count=rounds // 2)
    case = "training, 20 layers of 512, 20 scales"
    implicit_rows(table, case, times)


def other_layers(table, rounds):
    """Layers that nobody writes by hand."""
    x = torch.randn(32, 4, 128)
    for kind, make in (("transformer", encoder), ("LSTM", lstm)):
        makers = with_implicit(make, lambda m, o: training_step(m, o, x), ("plain", "equalized"))
        times = compare(makers, count=rounds)
        case = f"training, {kind}, 2 layers of 128"
        table.row(case, "of plain", ratio(times, "equalized", "plain"))
        implicit_rows(table, case, times)


def following(table, rounds):
    """What it costs to look at the layers' speeds while they train."""
    for width, batch in [(128, 16), (512, 64)]:
        x = torch.randn(batch, width)

        def step(*, followed, width=width, x=x):
            model = build("equalized", lambda: perceptron(width))
            optimizer = adam(model)
            if followed:
                LearningSpeed(model, optimizer).__enter__()
            return training_step(model, optimizer, x)

        makers = {
            name: partial(step, followed=name == "followed") for name in ("alone", "followed")
        }
        times = compare(makers, count=4 * rounds)
        case = f"training, 3 layers of {width}, batch {batch}"
        table.row(
            case, "with LearningSpeed, of without", mean_ratio(times, "followed", "alone"), 1.03
        )


def evaluation(table, rounds):
    """Forwards without gradients inside `cached()`, and after removal."""
    for width in (512, 2048):
        x = torch.randn(64, width)
        make = lambda width=width: perceptron(width)  # noqa: E731
        makers = {
            "plain": lambda make=make, x=x: forward(build("plain", make), x),
            "equalized": lambda make=make, x=x: forward(build("equalized", make), x),
            "removed": lambda make=make, x=x: forward(
                remove_equalized_lr(build("equalized", make)), x
            ),
        }
        with cached():
            times = compare(makers, count=rounds, repeat=3)
        case = f"evaluation, 3 layers of {width}, batch 64"
        table.row(case, "inside cached(), of plain", ratio(times, "equalized", "plain"), 1.03)
        table.row(case, "removed, of plain", ratio(times, "removed", "plain"), 1.02)


def compiled(table, rounds):
    """Compiled by inductor; the optimizer is outside."""
    x = torch.randn(64, 512)

    def step(model, optimizer):
        torch._dynamo.reset()
        run = training_step(torch.compile(model), optimizer, x)
        run()
        return run

    makers = with_implicit(lambda: perceptron(512), step, ("plain", "by hand", "equalized"))
    times = compare(makers, count=rounds)
    case = "compiled training, 3 layers of 512, batch 64"
    table.row(case, "of by hand", ratio(times, "equalized", "by hand"), 1.02)
    table.row(case, "of plain", ratio(times, "equalized", "plain"))


def memory(table, rounds):
    """Peaks above the plain model's, in weights of one layer."""
    width, depth = 512, 4
    x = torch.randn(16, width)
    cases = {
        "forward and backward": (forward_and_backward, depth),
        "evaluation": (forward, 1),
    }
    for what, (make, target) in cases.items():
        peaks = {
            name: peak_bytes(make(build(name, lambda: perceptron(width, depth)), x))
            for name in ("plain", "by hand", "equalized")
        }
        over = {name: (peak - peaks["plain"]) / (4 * width**2) for name, peak in peaks.items()}
        case = f"memory, {depth} layers of {width}, {what}: weights above plain"
        table.row(case, "equalized", over["equalized"], target + 0.01)
        table.row(case, "by hand", over["by hand"])


PARTS = (
    *(
        small_layers,
        training,
        gan,
        twenty_scales,
        other_layers,
        following,
        evaluation,
        compiled,
        memory,
    ),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=160)
    parser.add_argument("--only", nargs="+", choices=[part.__name__ for part in PARTS])
    options = parser.parse_args()
    for threads in options.threads:
        table = Table(threads)
        sys.stdout.write(f"\nThreads: {threads}\n\n| case | what | ratio | target | met |\n")
        sys.stdout.write("|---|---|---|---|---|\n")
        for part in PARTS:
            if not options.only or part.__name__ in options.only:
                part(table, options.rounds)
        missed = "; ".join(table.missed) or "none"
        sys.stdout.write(f"\n{table.met} targets met. Missed: {missed}\n")


if __name__ == "__main__":
    main()
