"""Steps of a classifier of digits on random batches."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

BATCH = 64


def train(
    net: nn.Module,
    optimizer: Optimizer,
    steps: int,
    data: tuple[Tensor, Tensor],
    *,
    batch: int = BATCH,
) -> list[float]:
    """The loss of each step."""
    (images, labels), losses = data, []
    for _ in range(steps):
        chosen = torch.randint(len(images), (batch,))
        loss = cross_entropy(net(images[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
