"""How each optimizer is translated, and how far its two forms come apart in 50 steps.

    python docs/examples/optimizer_table.py

Prints the table of docs/optimizers.md: the powers as the library has them, the errors as measured
here. Takes a few seconds.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import options as shared
import torch
from torch import nn, optim

from equalized_lr import equalize_lr, remove_equalized_lr
from equalized_lr.handover.powers import POWERS, Powers
from equalized_lr.optim import implicit

STEPS = 50
SCALES = {"0.weight": 0.354, "2.weight": 0.01, "2.bias": 0.2, "4.weight": 3.7}
NUMBERS: dict[str, dict[str, Any]] = {
    "SGD": {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1},
    "Adam": {"lr": 0.01, "weight_decay": 0.1, "amsgrad": True},
    "AdamW": {"lr": 0.01, "weight_decay": 0.1},
    "NAdam": {"lr": 0.01, "weight_decay": 0.1},
    "RAdam": {"lr": 0.01, "weight_decay": 0.1},
    "Adamax": {"lr": 0.01, "weight_decay": 0.1},
    "Adagrad": {"lr": 0.05, "initial_accumulator_value": 0.1, "weight_decay": 0.1},
    "RMSprop": {"lr": 0.01, "momentum": 0.5, "centered": True, "weight_decay": 0.1},
    "Adadelta": {"lr": 1.0, "weight_decay": 0.1},
    "Rprop": {"lr": 0.01},
    "ASGD": {"lr": 0.1, "weight_decay": 0.1, "t0": 10},
    "SparseAdam": {"lr": 0.01},
    "Adafactor": {"lr": 0.05, "weight_decay": 0.1},
    "Muon": {"lr": 0.01, "weight_decay": 0.1},
}
HEAD = ["optimizer", "lr", "weight_decay", "others", "state", "error", "after two hand-overs"]


def main(arguments: list[str] | None = None) -> None:
    shared.use(shared.parser(__doc__).parse_args(arguments))
    torch.set_default_dtype(torch.float64)
    print(line(HEAD))
    print(line(["---"] * len(HEAD)))
    for kind, row in POWERS.items():
        if kind.__name__ in NUMBERS:
            errors = (f"{error:.0e}" for error in measure(kind, NUMBERS[kind.__name__]))
            print(line([kind.__name__, *powers(kind, row), *errors]))


def powers(kind: type[optim.Optimizer], row: Powers) -> Iterator[str]:
    """The powers of c as words: lr, weight_decay, the other numbers, the state."""
    numbers = kind([nn.Parameter(torch.zeros(1, 1))]).defaults
    yield power(row.lr)
    yield power(row.of_group({})["weight_decay"]) if "weight_decay" in numbers else "none"
    yield ", ".join(f"{name}: {power(k)}" for name, k in row.others.items()) or "none"
    yield ", ".join(f"{key}: {power(k)}" for key, k in row.state.items() if key != "step")


def power(k: int | tuple[int, ...]) -> str:
    if isinstance(k, tuple):
        return f"({', '.join(map(power, k))})"
    return {0: "as it is", 1: "· c", -1: "/ c"}.get(k, f"· c^{k}" if k > 0 else f"/ c^{-k}")


def measure(kind: type[optim.Optimizer], numbers: dict[str, Any]) -> Iterator[float]:
    """The error of the implicit form, and of a training that changes its form twice."""
    plain, explicit, changing = (model(kind) for _ in range(3))
    equalize(explicit)
    equalize(changing)
    theirs = kind(trained(kind, explicit), **numbers)
    train(explicit, theirs, 0, STEPS)

    train(plain, implicit(kind, plain, scales=SCALES, params=trained(kind, plain), **numbers))
    yield apart(plain, explicit)

    optimizer = kind(trained(kind, changing), **numbers)
    train(changing, optimizer, 0, 10)
    remove_equalized_lr(changing, optimizer=optimizer)
    train(changing, optimizer, 10, 30)
    equalize(changing, optimizer)
    train(changing, optimizer, 30, STEPS)
    yield apart(changing, explicit)


def model(kind: type[optim.Optimizer]) -> nn.Sequential:
    torch.manual_seed(0)
    sparse = kind is optim.SparseAdam
    first = nn.Embedding(8, 8, sparse=True) if sparse else nn.Linear(8, 8)
    net = nn.Sequential(first, nn.Tanh(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))
    return net.requires_grad_(False) if sparse else net


def trained(kind: type[optim.Optimizer], net: nn.Module) -> list[nn.Parameter]:
    """What a class can train: matrices only, sparse gradients only, or everything."""
    if kind is optim.SparseAdam:
        return list(net[0].requires_grad_().parameters())
    return [p for p in net.parameters() if kind.__name__ != "Muon" or p.ndim == 2]


def equalize(net: nn.Module, optimizer: optim.Optimizer | None = None) -> None:
    held = [p for group in optimizer.param_groups for p in group["params"]] if optimizer else []
    for name, c in SCALES.items():
        path, _, own = name.rpartition(".")
        follows = any(net.get_parameter(name) is p for p in held)
        layer, trains = net.get_submodule(path), optimizer if follows else None
        equalize_lr(layer, own, fan=1, gain=c, init="keep", optimizer=trains)


def train(net: nn.Module, optimizer: optim.Optimizer, begin: int = 0, end: int = STEPS) -> None:
    for step in range(begin, end):
        generator = torch.Generator().manual_seed(step)
        rows = isinstance(net[0], nn.Embedding)
        x = torch.randint(8, (16,), generator=generator) if rows else None
        x = torch.randn(16, 8, generator=generator) if x is None else x
        optimizer.zero_grad()
        (net(x).sin().mean() + net(x).cos().mean()).backward()
        optimizer.step()


def apart(one: nn.Module, other: nn.Module) -> float:
    """The largest difference of effective weights, in relation to the largest of the layer."""
    plain, expected = (remove(net) for net in (one, other))
    pairs = zip(plain.parameters(), expected.parameters(), strict=True)
    return max(((p - q).abs().max() / q.abs().max()).item() for p, q in pairs)


def remove(net: nn.Module) -> nn.Module:
    copied = copy.deepcopy(net)
    equalized = any("orig" in name for name, _ in copied.named_parameters())
    return remove_equalized_lr(copied) if equalized else copied


def line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
