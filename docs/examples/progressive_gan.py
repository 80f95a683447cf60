"""A progressive GAN on handwritten digits, with equalized learning rates.

    python docs/examples/progressive_gan.py [--steps N] [--form FORM] [--out FOLDER] ...

Trains with equalized weights; then, for a sixth of the steps and only to draw its speeds beside the
first one's, with plain ones. Writes samples.png, relative_steps.png and generator.pt2.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from pathlib import Path

import digit_classifier
import digits
import options as shared
import torch
from figures import draw_relative_steps, draw_samples
from gan_training import Run, train
from progressive_networks import LATENT, SIZES
from torch import nn

from equalized_lr import is_equalized, remove_equalized_lr

OTHER = {"equalized": "he", "he": "equalized", "default": "equalized"}
TITLES = {
    "equalized": "equalized learning rate",
    "he": "plain weights, He's initialization",
    "default": "plain weights, torch's initialization",
}


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Trains, judges, draws and exports; returns the numbers that it prints."""
    options = parse(arguments)
    shared.use(options)
    torch.manual_seed(options.seed)
    started = time.perf_counter()

    images, labels = digits.load(options.data)
    epochs = 8 if options.steps >= 100 else 1
    classifier, accuracy = digit_classifier.train(images, labels, epochs, quiet=options.quiet)

    run = train(
        images, options.steps, options.weights, options.lr, options.form, quiet=options.quiet
    )
    with torch.no_grad():
        samples = run.average(torch.randn(1000, LATENT))
    accepted, entropy = digit_classifier.judge(classifier, samples)

    compared = OTHER[options.weights]
    short = max(3, options.steps // 6)
    other = train(images, short, compared, options.lr, options.form, quiet=options.quiet)
    draw(run, other, images, options)
    difference = export(run.average, options.out / "generator.pt2")

    real, _ = digit_classifier.judge(classifier, images[: digit_classifier.HELD_OUT])
    numbers = {
        "classifier, right on held-out real images": accuracy,
        "held-out real images accepted, confidence > 0.9": real,
        "samples accepted, confidence > 0.9": accepted,
        f"entropy of their classes (at most {math.log(10):.3f})": entropy,
        f"fastest / slowest layer, {options.weights}": spread(run),
        f"fastest / slowest layer, {compared}": spread(other),
        "largest difference of the exported images": difference,
        "seconds": time.perf_counter() - started,
    }
    title = f"{TITLES[options.weights]}, {options.form} form"
    print(f"\n{title}, {options.steps} steps, seed {options.seed}")
    for name, number in numbers.items():
        print(f"  {name:<48} {number:10.4g}")
    print(f"  pictures and generator.pt2 are in {options.out}/")
    return numbers


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = shared.parser(__doc__)
    shared.add_out(parser)
    parser.add_argument("--steps", type=int, default=3600, help="training steps in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", help="folder with MNIST-like idx files, such as Fashion-MNIST")
    parser.add_argument("--lr", type=float, default=0.01, help="Adam's learning rate")
    parser.add_argument(
        "--form",
        choices=["explicit", "implicit", "lreqadam"],
        default="explicit",
        help="scaled weights, or plain ones and an optimizer that makes up for it",
    )
    parser.add_argument("--weights", choices=list(OTHER), default="equalized")
    return parser.parse_args(arguments)


def draw(run: Run, other: Run, images: torch.Tensor, options: argparse.Namespace) -> None:
    real = {size: digits.shrink(images[:24], size) for size in SIZES}
    rows = {size: (run.samples[size], real[size]) for size in SIZES}
    draw_samples(rows, options.out / "samples.png")
    runs = {TITLES[options.weights]: run, TITLES[OTHER[options.weights]]: other}
    steps = {title: each.relative_steps for title, each in runs.items()}
    draw_relative_steps(steps, options.out / "relative_steps.png")


def spread(run: Run) -> float:
    """The ratio of the fastest and the slowest layer's median relative step."""
    used = [[s for s in steps if s == s] for steps in run.relative_steps.values()]  # noqa: PLR0124
    medians = [statistics.median(steps) for steps in used if steps]
    return max(medians) / min(medians)


def export(generator: nn.Module, path: Path) -> float:
    """Gives plain weights back, exports, and compares the images of all three forms."""
    z = torch.randn(16, LATENT)
    with torch.no_grad():
        expected = generator(z)
        if any(map(is_equalized, generator.modules())):
            remove_equalized_lr(generator)
        plain = generator(z)
        batch = torch.export.Dim("batch", min=2, max=4096)
        program = torch.export.export(generator.eval(), (z,), dynamic_shapes=({0: batch},))
        torch.export.save(program, path)
        exported = torch.export.load(path).module()(z)
    torch.testing.assert_close(plain, expected)
    torch.testing.assert_close(exported, expected)
    return (exported - expected).abs().max().item()


if __name__ == "__main__":
    main()
