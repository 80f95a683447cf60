"""The two networks of a progressive GAN, of plain layers, growing 7 -> 14 -> 28.

Karras et al. 2018, "Progressive Growing of GANs", in small: pixel norm in the generator, the
standard deviation over the minibatch in the critic, new resolutions fading in.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

SIZES = (7, 14, 28)
CHANNELS = (64, 32, 16)
LATENT = 16


class PixelNorm(nn.Module):
    """Each pixel's vector of features gets the length of its dimension (section 4.2)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


class MinibatchDeviation(nn.Module):
    """One more feature: how much the images of the minibatch differ (section 3)."""

    def forward(self, x: Tensor) -> Tensor:
        deviation = (x.var(dim=0, correction=0) + 1e-8).sqrt().mean()
        return torch.cat([x, deviation.expand(len(x), 1, *x.shape[2:])], dim=1)


def active(layer: nn.Module, *more: nn.Module) -> nn.Sequential:
    return nn.Sequential(layer, nn.LeakyReLU(0.2), *more)


class Generator(nn.Module):
    """From latent vectors (N, LATENT) to images (N, 1, size, size)."""

    def __init__(self) -> None:
        super().__init__()
        first, side = CHANNELS[0], SIZES[0]
        unflatten = nn.Unflatten(1, (first, side, side))
        self.start = nn.Sequential(
            active(nn.Linear(LATENT, first * side**2), unflatten, PixelNorm()),
            active(nn.Conv2d(first, first, 3, padding=1), PixelNorm()),
        )
        self.grow = nn.ModuleList(
            nn.Sequential(
                active(nn.ConvTranspose2d(coarse, fine, 4, stride=2, padding=1), PixelNorm()),
                active(nn.Conv2d(fine, fine, 3, padding=1), PixelNorm()),
            )
            for coarse, fine in pairwise(CHANNELS)
        )
        self.to_image = nn.ModuleList(nn.Conv2d(channels, 1, 1) for channels in CHANNELS)

    def forward(self, z: Tensor, stage: int = len(SIZES) - 1, alpha: float = 1.0) -> Tensor:
        z = z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        x, image = self.start(z), None
        for depth in range(stage):
            if depth == stage - 1 and alpha < 1:
                image = interpolate(self.to_image[depth](x), scale_factor=2)
            x = self.grow[depth](x)
        new = self.to_image[stage](x)
        return new if image is None else image.lerp(new, alpha)


class Critic(nn.Module):
    """From images (N, 1, size, size) to one number each."""

    def __init__(self) -> None:
        super().__init__()
        last, side = CHANNELS[0], SIZES[0]
        self.from_image = nn.ModuleList(active(nn.Conv2d(1, c, 1)) for c in CHANNELS)
        self.shrink = nn.ModuleList(
            nn.Sequential(
                active(nn.Conv2d(fine, fine, 3, padding=1)),
                active(nn.Conv2d(fine, coarse, 3, stride=2, padding=1)),
            )
            for coarse, fine in pairwise(CHANNELS)
        )
        self.body = nn.Sequential(
            MinibatchDeviation(),
            active(nn.Conv2d(last + 1, last, 3, padding=1), nn.Flatten()),
            active(nn.Linear(last * side**2, last)),
        )
        self.score = nn.Linear(last, 1)

    def forward(self, image: Tensor, stage: int, alpha: float = 1.0) -> Tensor:
        x = self.from_image[stage](image)
        for depth in reversed(range(stage)):
            x = self.shrink[depth](x)
            if depth == stage - 1 and alpha < 1:
                x = self.from_image[depth](avg_pool2d(image, 2)).lerp(x, alpha)
        return self.score(self.body(x)).squeeze(1)
