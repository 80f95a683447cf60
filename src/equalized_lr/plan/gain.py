"""The gain of a nonlinearity, from its second moment under standard normal inputs."""

import copy
import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from equalized_lr.errors import InvalidArgument

Nonlinearity = Callable[[Tensor], Tensor]

EDGE = 16.0  # beyond it the normal density is below 1e-56
PANELS = 128  # so that the kinks at integers, where activations have theirs, are edges
MOST_PANELS = 2**15
ROUNDS = 60
POINTS = 16
EXPECTED = (
    "a number, a name that torch.nn.init.calculate_gain knows, such as 'relu', or a nonlinearity, "
    "such as torch.nn.functional.gelu or nn.SiLU()"
)


def gain_of(nonlinearity: Nonlinearity) -> float:
    """1 / sqrt(E f(z)^2) for z ~ N(0, 1): from unit responses through f to unit responses.

    For ReLU it is sqrt(2), the factor of He et al. 2015, equation 10.

    Args:
        nonlinearity: a function or a module that maps each element by itself. A module is copied,
            and neither its buffers nor torch's random state change.

    Raises:
        InvalidArgument: it maps more than single elements, is random or stateful, fails, or has no
            finite second moment.
    """
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        function = _Elementwise(nonlinearity)
        moment = _second_moment(function)
    if not (math.isfinite(moment) and moment > 0):
        raise function.refusal(f"its second moment is {moment:g}")
    return 1 / math.sqrt(moment)


class _Elementwise:
    """The nonlinearity in double precision on the CPU, which is asked for nothing but elements."""

    def __init__(self, nonlinearity: Nonlinearity) -> None:
        self._nonlinearity = nonlinearity
        self._function: Any = nonlinearity
        if isinstance(nonlinearity, nn.Module):
            try:
                self._function = copy.deepcopy(nonlinearity).to("cpu", torch.float64)
            except Exception as error:
                raise self.refusal(f"it cannot be copied: {error}") from error
        z = torch.linspace(-3, 3, 97, dtype=torch.float64, device="cpu")
        whole, state = self(z), self._state()
        if not torch.equal(self(z), whole) or self._state() != state:
            raise self.refusal("it is random or keeps a state")
        parts = torch.cat([self(part) for part in z.flip(0).split(5)]).flip(0)
        # Vectorized kernels and their remainders may differ in the last digits.
        if not torch.allclose(parts, whole, rtol=1e-6, atol=1e-9):
            raise self.refusal("it does not map each element by itself")

    def __call__(self, z: Tensor) -> Tensor:
        try:
            values = self._function(z.clone())
        except Exception as error:
            raise self.refusal(f"it fails on a vector of float64: {error}") from error
        if not (isinstance(values, Tensor) and values.is_floating_point()):
            raise self.refusal(f"it returns no real numbers, but {type(values).__name__}")
        if values.shape != z.shape:
            raise self.refusal("it does not map each element by itself")
        if not values.isfinite().all():
            raise self.refusal("it returns values that are not finite")
        return values.double()

    def refusal(self, reason: str) -> InvalidArgument:
        """The error, with the reason."""
        return InvalidArgument("gain", self._nonlinearity, f"{EXPECTED} ({reason})")

    def _state(self) -> list[list[Any]]:
        if not isinstance(self._function, nn.Module):
            return []
        return [tensor.tolist() for tensor in self._function.state_dict().values()]


def _second_moment(function: _Elementwise) -> float:
    """E f(z)^2 by Gauss and Legendre's rule, on panels that are halved until it agrees."""
    edges = torch.linspace(-EDGE, EDGE, PANELS + 1, dtype=torch.float64, device="cpu")
    left, width = edges[:-1], edges.diff()
    coarse = _integrals(function, left, width)
    tails, total, doubt = (coarse[0] + coarse[-1]).item(), 0.0, math.inf
    for _ in range(ROUNDS):
        halves = torch.stack([left, left + width / 2]), (width / 2).expand(2, -1)
        fine = _integrals(function, *halves)
        error = (fine.sum(0) - coarse).abs()
        unsure = error > 1e-15 * (total + fine.sum().item())
        total += fine.sum(0)[~unsure].sum().item()
        pending, doubt = fine[:, unsure], error.sum().item()
        if not unsure.any() or pending.numel() > MOST_PANELS:
            total += pending.sum().item()
            break
        coarse = pending.flatten()
        left, width = (half[:, unsure].flatten() for half in halves)
    else:
        total += coarse.sum().item()
    if doubt > 1e-6 * total or tails > 1e-9 * total:
        raise function.refusal("its second moment does not converge")
    return total


def _integrals(function: _Elementwise, left: Tensor, width: Tensor) -> Tensor:
    nodes, weights = _legendre()
    z = left[..., None] + width[..., None] * (nodes + 1) / 2
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    values = function(z.flatten()).view(z.shape)
    return (values.square() * density) @ weights * width / 2


@functools.cache
def _legendre() -> tuple[Tensor, Tensor]:
    """Gauss and Legendre's nodes and weights on [-1, 1], by Golub and Welsch 1969."""
    k = torch.arange(1, POINTS, dtype=torch.float64, device="cpu")
    beside = torch.diag(k / (4 * k.square() - 1).sqrt(), 1)
    nodes, vectors = torch.linalg.eigh(beside + beside.T)
    return nodes, 2 * vectors[0].square()
