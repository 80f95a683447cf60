"""Parameter groups by scale: how one group becomes several, and their numbers translated."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from equalized_lr.handover.powers import Powers, times_power

Group = dict[str, Any]

# The key of a group under which its c stands. "scale" is also GaLore's, APOLLO's and SCION's.
SCALE = "equalized_scale"
OLD_SCALE = "scale"  # what it was once

# The attribute of an optimizer whose groups have the numbers of the explicit form for a while.
EXPLICIT = "_has_explicit_rates"


def parameters_of(optimizer: Optimizer) -> Iterator[Tensor]:
    """All that an optimizer trains."""
    return (p for group in optimizer.param_groups for p in group["params"])


def scale_of(group: Mapping[str, Any]) -> float:
    """The c by which the numbers of a group are translated, 1 where they are as given."""
    return float(group.get(SCALE, 1.0))


def is_rescaled(group: Group, scales: Mapping[Tensor, float]) -> bool:
    """Whether one of its parameters has another c than 1."""
    return any(scales.get(p, 1.0) != 1 for p in group["params"])


def split(group: Group, scales: Mapping[Tensor, float]) -> Iterator[tuple[float, Group]]:
    """One group for each distinct c, in the order in which they come."""
    pieces: dict[float, list[int]] = {}
    for index, parameter in enumerate(group["params"]):
        pieces.setdefault(scales.get(parameter, 1.0), []).append(index)
    lists = [key for key in ("params", "param_names") if key in group]
    for c, indices in pieces.items():
        yield c, {**group, **{key: [group[key][i] for i in indices] for key in lists}}


def translated_pieces(
    powers: Powers, group: Group, scales: Mapping[Tensor, float], direction: int
) -> list[Group]:
    """One group for each distinct c, with that c and the numbers that it makes."""
    return [
        piece
        | translated(powers, piece, c, direction)
        | {SCALE: times_power(scale_of(piece), c, 1, direction)}
        for c, piece in split(group, scales)
    ]


def translated(powers: Powers, group: Group, c: float, direction: int) -> Group:
    """The numbers of a group whose parameters are multiplied by c (1) or divided by it (-1)."""
    return {
        key: times_power(group[key], c, power, direction)
        for key, power in powers.of_group(group).items()
        if key in group and c != 1
    }
