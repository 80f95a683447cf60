"""Training a progressive GAN: WGAN-GP, fading in, an average of the generator, relative steps."""

from __future__ import annotations

import copy
import itertools
import math
from dataclasses import dataclass, field
from operator import attrgetter

import torch
from digits import shrink
from progressive_networks import LATENT, SIZES, Critic, Generator
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from tqdm import tqdm

from equalized_lr import equalize_lr, he_scales, is_equalized, remove_equalized_lr
from equalized_lr.optim import LREQAdam, implicit

ADAM = {"betas": (0.0, 0.99), "eps": 1e-8}
PHASES = (0.4, 0.35, 0.25)  # the share of all steps at each resolution
BATCH = 32
PENALTY = 1.0  # in the place of 10: slopes matter less for images this small
EVERY = 10  # steps between two measurements of the relative steps


@dataclass
class Run:
    """What a training leaves: the networks, samples at each size, relative steps of each layer."""

    generator: nn.Module
    average: nn.Module
    samples: dict[int, Tensor] = field(default_factory=dict)
    relative_steps: dict[str, list[float]] = field(default_factory=dict)


def build(weights: str) -> tuple[Generator, Critic]:
    """Networks with equalized weights, He's initialization, or that of torch."""
    generator, critic = Generator(), Critic()
    if weights == "equalized":
        # The exceptions first: layers without a nonlinearity after them have gain 1.
        equalize_lr(generator.to_image, gain=1.0)
        equalize_lr(generator)
        equalize_lr(critic.score, gain=1.0)
        equalize_lr(critic)
    elif weights == "he":
        for net in (generator, critic):
            for name, c in he_scales(net).items():
                linear = name.startswith(("to_image", "score"))
                nn.init.normal_(net.get_parameter(name), std=c / math.sqrt(2) if linear else c)
                nn.init.zeros_(net.get_parameter(name.replace("weight", "bias")))
    return generator, critic


def optimizer_of(net: nn.Module, lr: float, form: str) -> Optimizer:
    """Adam in the explicit form; in the others, plain weights and the optimizer that fits."""
    numbers = {"lr": lr, **ADAM}
    if form == "explicit" or not any(map(is_equalized, net.modules())):
        return Adam(net.parameters(), **numbers)
    scales = he_scales(net)
    remove_equalized_lr(net)
    return implicit(Adam if form == "implicit" else LREQAdam, net, scales=scales, **numbers)


def train(
    images: Tensor, steps: int, weights: str, lr: float, form: str = "explicit", *, quiet: bool
) -> Run:
    """Trains at one resolution after the other."""
    nets = generator, critic = build(weights)
    optimizers = [optimizer_of(net, lr, form) for net in nets]
    run = Run(generator, copy.deepcopy(generator))
    shown = torch.randn(24, LATENT)
    phases, counter = schedule(steps), itertools.count()
    with tqdm(total=sum(map(len, phases)), desc=weights, disable=quiet, leave=False) as bar:
        for stage, alphas in enumerate(phases):
            for alpha, step in zip(alphas, counter, strict=False):
                real = shrink(images[torch.randint(len(images), (BATCH,))], SIZES[stage])
                measured = step % EVERY == 0
                before = effective_weights(generator, critic) if measured else {}
                gap = train_once(nets, optimizers, real, stage=stage, alpha=alpha)
                if measured:
                    measure(run, before, effective_weights(generator, critic))
                    bar.set_postfix(size=SIZES[stage], gap=f"{gap:.2f}", refresh=False)
                follow(run.average, generator, min(0.99, 1 - 4 / (step + 5)))
                bar.update()
            with torch.no_grad():
                run.samples[SIZES[stage]] = run.average(shown, stage)
    return run


def schedule(steps: int) -> list[list[float]]:
    """For each resolution and each of its steps, how much the newest layers count.

    They fade in over half of their time; the first ones have nothing to fade in from.
    """
    lengths = [max(1, round(share * steps)) for share in PHASES]
    fading = [[min(1.0, 2 * (k + 1) / length) for k in range(length)] for length in lengths]
    return [[1.0] * lengths[0], *fading[1:]]


def train_once(
    nets: tuple[Generator, Critic], optimizers: list[Optimizer], real: Tensor, **at: float
) -> float:
    """One step of the critic and one of the generator; returns the critic's estimated distance."""
    generator, critic = nets
    for_generator, for_critic = optimizers
    fake = generator(torch.randn(len(real), LATENT), **at)
    scores = critic(real, **at), critic(fake.detach(), **at)
    gap = scores[0].mean() - scores[1].mean()
    drift = 1e-3 * scores[0].square().mean()
    penalty = gradient_penalty(critic, real, fake.detach(), **at)
    for_critic.zero_grad()
    (drift + PENALTY * penalty - gap).backward()
    for_critic.step()

    critic.requires_grad_(False)  # the generator's step needs no gradients of the critic
    for_generator.zero_grad()
    (-critic(fake, **at).mean()).backward()
    for_generator.step()
    critic.requires_grad_(True)
    return gap.item()


def gradient_penalty(critic: Critic, real: Tensor, fake: Tensor, **at: float) -> Tensor:
    """Gulrajani et al. 2017, equation 3: slopes of one between real and generated images."""
    between = real.lerp(fake, torch.rand(len(real), 1, 1, 1)).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between, **at).sum(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    """The exponential moving average of all parameters."""
    for mean, parameter in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(parameter, 1 - decay)


@torch.no_grad()
def effective_weights(generator: nn.Module, critic: nn.Module) -> dict[str, Tensor]:
    """The weights that both networks compute with, whatever the form in which they are stored."""
    return {
        f"{label}.{name.removesuffix('.weight')}": attrgetter(name)(net).clone()
        for label, net in (("G", generator), ("D", critic))
        for name in he_scales(net)
    }


def measure(run: Run, before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    """Notes how far each layer moved in relation to its size; NaN where it was not in use."""
    for name, weight in after.items():
        moved = ((weight - before[name]).norm() / before[name].norm()).item()
        run.relative_steps.setdefault(name, []).append(moved or float("nan"))
