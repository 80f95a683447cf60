"""The README's first block on real digits: plain, and equalized at two rates.

    python docs/examples/first_block.py [--steps N] [--seeds N]

Prints the accuracy on held-out digits. Takes ten seconds on two cores.
"""

from __future__ import annotations

import statistics

import digit_steps
import digits
import options as shared
import torch
from torch import nn

from equalized_lr import equalize_lr, translate_lr

PLAIN = 1e-3
HELD_OUT = 1000
FORMS = ("plain", "equalized, translated rate", "equalized, same rate")


def main(arguments: list[str] | None = None) -> None:
    parser = shared.parser(__doc__)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=4)
    options = parser.parse_args(arguments)
    shared.use(options)
    images, labels = digits.load()
    training = images[HELD_OUT:], labels[HELD_OUT:]
    for form in FORMS:
        accuracies = []
        for seed in range(options.seeds):
            torch.manual_seed(seed)
            net, rate = build(form)
            optimizer = torch.optim.Adam(net.parameters(), lr=rate)
            digit_steps.train(net, optimizer, options.steps, training, batch=32)
            with torch.no_grad():
                right = net(images[:HELD_OUT]).argmax(dim=1) == labels[:HELD_OUT]
            accuracies.append(right.float().mean().item())
        print(f"{form:<28} lr {rate:.4f}  accuracy {statistics.fmean(accuracies):.3f}")


def build(form: str) -> tuple[nn.Module, float]:
    """The network of the README, and the rate for it."""
    net = nn.Sequential(
        *(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()),
        nn.Linear(256, 10),
    )
    if form == "plain":
        return net, PLAIN
    equalize_lr(net)
    return net, translate_lr(net, PLAIN) if form == "equalized, translated rate" else PLAIN


if __name__ == "__main__":
    main()
