"""Four small trainings on real data, each of which ends with one number: smaller is better."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from itertools import pairwise
from pydoc_data.topics import topics
from typing import NamedTuple

import digit_classifier
import digits
import gan_training
import torch
from progressive_networks import LATENT
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LinearLR

from equalized_lr import equalize_lr
from equalized_lr.optim import init_

FORMS = ("plain, torch's init", "plain, same init", "equalized")
CONTEXT, WIDTH = 64, 64


class Task(NamedTuple):
    """A training.

    Attributes:
        steps: how many it makes unless told otherwise.
        plain: the smallest and the largest rate of plain weights, as powers of two.
        equalized: those of equalized ones.
        score: from form, rate, steps and seed to the final number.
    """

    steps: int
    plain: tuple[int, int]
    equalized: tuple[int, int]
    score: Callable[[str, float, int, int], float]


class Transformer(nn.Module):
    """Two blocks that predict the next character."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.characters = nn.Embedding(characters, WIDTH)
        self.positions = nn.Embedding(CONTEXT, WIDTH)
        options = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": True}
        self.blocks = nn.Sequential(
            *(nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, **options) for _ in range(2))
        )
        self.norm = nn.LayerNorm(WIDTH)
        self.out = nn.Linear(WIDTH, characters)

    def forward(self, text: Tensor) -> Tensor:
        x = self.characters(text) + self.positions.weight
        mask = nn.Transformer.generate_square_subsequent_mask(CONTEXT)
        for block in self.blocks:
            x = block(x, mask, is_causal=True)
        return self.out(self.norm(x))


class Recurrent(nn.Module):
    """An LSTM that predicts the next character."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.characters = nn.Embedding(characters, WIDTH)
        self.lstm = nn.LSTM(WIDTH, 2 * WIDTH, batch_first=True)
        self.out = nn.Linear(2 * WIDTH, characters)

    def forward(self, text: Tensor) -> Tensor:
        return self.out(self.lstm(self.characters(text))[0])


class Residual(nn.Module):
    """A basic block of a ResNet, which halves the size."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            *(nn.Conv2d(into, out, 3, 2, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()),
            *(nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)),
        )
        self.short = nn.Conv2d(into, out, 1, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.path(x) + self.short(x))


def resnet() -> nn.Sequential:
    """A ResNet for digits, from 28 x 28 to 4 x 4."""
    stem = (nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    blocks = [Residual(*sizes) for sizes in pairwise((16, 16, 32, 64))]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def prepare(net: nn.Module, form: str, **options: float) -> nn.Module:
    """The network in one of the forms."""
    if form == "equalized":
        return equalize_lr(net, **options)
    return init_(net, **options) if form == "plain, same init" else net


@functools.cache
def text() -> tuple[Tensor, int]:
    """The English of Python's help pages as numbers, and how many characters it has."""
    pages = "\n".join(topics.values())
    numbers = {character: number for number, character in enumerate(sorted(set(pages)))}
    return torch.tensor([numbers[character] for character in pages]), len(numbers)


@functools.cache
def images() -> tuple[Tensor, Tensor]:
    """Digits and their classes; the first thousand are held out."""
    return digits.load()


@functools.cache
def judge() -> nn.Module:
    """A classifier, whose outputs tell how far generated digits are from real ones."""
    torch.manual_seed(0)
    return digit_classifier.train(*images(), 8, quiet=True)[0]


def text_batch(number: int, *, held_out: bool = False) -> tuple[Tensor, Tensor]:
    """Random pieces of the text, and the characters that follow each of theirs."""
    characters, _ = text()
    border = len(characters) * 9 // 10
    part = characters[border:] if held_out else characters[:border]
    starts = torch.randint(len(part) - CONTEXT, (number, 1))
    pieces = part[starts + torch.arange(CONTEXT + 1)]
    return pieces[:, :-1], pieces[:, 1:]


def digit_batch(number: int, *, held_out: bool = False) -> tuple[Tensor, Tensor]:
    """Random digits and their classes, or all that are held out."""
    pictures, classes = images()
    if held_out:
        return pictures[:1000], classes[:1000]
    chosen = torch.randint(1000, len(pictures), (number,))
    return pictures[chosen], classes[chosen]


def held_out_loss(
    form: str,
    rate: float,
    steps: int,
    seed: int,
    *,
    build: Callable[[str], nn.Module],
    batch: Callable[..., tuple[Tensor, Tensor]],
) -> float:
    """Trains with Adam, at a rate that falls to zero; the cross entropy on what was held out."""
    torch.manual_seed(seed)
    net = build(form)
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    schedule = LinearLR(optimizer, 1.0, 1 / steps, steps)
    for _ in range(steps):
        inputs, targets = batch(16)
        optimizer.zero_grad()
        cross_entropy(net(inputs).flatten(0, -2), targets.flatten()).backward()
        optimizer.step()
        schedule.step()
    torch.manual_seed(0)
    net.eval()
    with torch.no_grad():
        inputs, targets = batch(128, held_out=True)
        return cross_entropy(net(inputs).flatten(0, -2), targets.flatten()).item()


def transformer(form: str) -> nn.Module:
    return prepare(Transformer(text()[1]), form, gain=1.0)


def lstm(form: str) -> nn.Module:
    return prepare(Recurrent(text()[1]), form, gain=1.0)


def resnet_in(form: str) -> nn.Module:
    net = resnet()
    prepare(net[-1], form, gain=1.0)
    prepare(net[:-1], form)
    return net


def distance(form: str, rate: float, steps: int, seed: int) -> float:
    """Trains the progressive GAN; how far its digits are from real ones, as `frechet` has it."""
    classifier = judge()  # the same in each training
    torch.manual_seed(seed)
    weights = {"plain, torch's init": "default", "plain, same init": "he"}.get(form, form)
    run = gan_training.train(images()[0], steps, weights, rate, quiet=True)
    with torch.no_grad():
        fake = classifier(run.average(torch.randn(500, LATENT)))
        return frechet(fake, classifier(images()[0][:500]))


def frechet(one: Tensor, other: Tensor) -> float:
    """Fréchet's distance of two normal distributions with the means and covariances of these."""
    if not one.isfinite().all():
        return math.inf
    one, other = one.double(), other.double()
    values, vectors = torch.linalg.eigh(one.T.cov())
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    between = torch.linalg.eigvalsh(root @ other.T.cov() @ root).clamp(min=0).sqrt().sum()
    means = (one.mean(0) - other.mean(0)).square().sum()
    return (means + one.var(0).sum() + other.var(0).sum() - 2 * between).item()


def held_out(
    build: Callable[[str], nn.Module], batch: Callable[..., tuple[Tensor, Tensor]]
) -> Callable[[str, float, int, int], float]:
    return functools.partial(held_out_loss, build=build, batch=batch)


TASKS = {
    "transformer": Task(200, (-10, -4), (-7, -1), held_out(transformer, text_batch)),
    "LSTM": Task(200, (-10, -3), (-7, -1), held_out(lstm, text_batch)),
    "ResNet": Task(100, (-11, -4), (-8, -2), held_out(resnet_in, digit_batch)),
    "GAN": Task(240, (-12, -6), (-9, -3), distance),
}
