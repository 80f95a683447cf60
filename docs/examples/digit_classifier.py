"""A small classifier of real digits, as the judge of generated ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from tqdm import tqdm

HELD_OUT = 1000


def train(images: Tensor, labels: Tensor, epochs: int, *, quiet: bool) -> tuple[nn.Module, float]:
    """The trained classifier and the share of held-out real images that it gets right."""
    net = nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2), nn.ReLU(), nn.BatchNorm2d(16),
        nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(), nn.BatchNorm2d(32),
        nn.Flatten(), nn.Dropout(0.2), nn.Linear(32 * 25, 10),
    )  # fmt: skip
    train_images, train_labels = images[HELD_OUT:], labels[HELD_OUT:]
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    steps = epochs * max(1, len(train_images) // 100)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    for _ in tqdm(range(steps), "classifier", disable=quiet, leave=False):
        batch = torch.randint(len(train_images), (100,))
        loss = cross_entropy(net(_shifted(train_images[batch])), train_labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    net.eval()
    right = _confidences(net, images[:HELD_OUT]).argmax(dim=1) == labels[:HELD_OUT]
    return net, right.float().mean().item()


def judge(net: nn.Module, samples: Tensor) -> tuple[float, float]:
    """The share of samples accepted with confidence above 0.9, and the entropy of their classes.

    The entropy, in nats, is that of the distribution of all samples over the classes that the
    classifier gives them: ln 10 = 2.303 if each digit is as frequent.
    """
    confidences = _confidences(net, samples)
    shares = torch.bincount(confidences.argmax(dim=1), minlength=10) / len(samples)
    entropy = sum(share * -math.log(share) for share in shares.tolist() if share > 0)
    return (confidences.amax(dim=1) > 0.9).float().mean().item(), entropy


def _shifted(images: Tensor) -> Tensor:
    down, right = torch.randint(5, (2,)).tolist()
    return pad(images, (2, 2, 2, 2), value=-1.0)[..., down : down + 28, right : right + 28]


@torch.no_grad()
def _confidences(net: nn.Module, images: Tensor) -> Tensor:
    return torch.cat([net(part).softmax(dim=1) for part in images.split(250)])
