"""`ScaledSteps`: any optimizer steps on stored coordinates, without a translation of its rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from equalized_lr.errors import InvalidArgument
from equalized_lr.optim.constants import constants_of
from equalized_lr.optim.stepping import Step, around_steps, not_compiled


class ScaledSteps:
    """Runs every step of an optimizer on the stored weights w = ŵ / c of a plain model.

    For the length of a step the parameters are divided by c and their gradients multiplied by it;
    then the parameters are multiplied again. So every optimizer does what it would do in the
    explicit form, also one that nobody here knows. Its state is that of the explicit form.

    Its price is two passes over the parameters, one over the gradients, and memory for one more
    copy of these; and two roundings of each weight in each step, unless c is a power of two.
    Where `implicit` knows a class it costs nothing: use that.

    What an optimizer does to parameters outside of its step, such as the `eval()` of
    schedule-free ones, belongs into `with scaled_steps.stored():`.

    Example:
        >>> layer = nn.Linear(200, 3)
        >>> optimizer = torch.optim.LBFGS(layer.parameters())
        >>> scaled_steps = ScaledSteps(optimizer, layer)
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = layer(torch.ones(1, 200)).square().sum()
        ...     loss.backward()
        ...     return loss
        >>> bool(optimizer.step(closure) > closure())
        True

    Args:
        optimizer: one that trains parameters of `module`; it is used as before, by schedulers and
            gradient scalers too.
        module: plain, equalized or mixed; equalized weights are stored ones already.
        scales: plain qualified names and their c, `he_scales(module)` if left out.

    Attributes:
        optimizer: the optimizer.
        constants: c of each parameter that steps on other coordinates than its own.

    Raises:
        InvalidArgument: `scales` has a name that the module has not, or the optimizer runs under
            `ScaledSteps` already.
        NotCopyable: later, from `copy` or `pickle` of the optimizer, which would lose this. Its
            state_dict is saved and loaded as always.
    """

    def __init__(
        self, optimizer: Optimizer, module: nn.Module, scales: Mapping[str, float] | None = None
    ) -> None:
        if scaled_steps_of(optimizer):
            raise InvalidArgument("optimizer", type(optimizer).__name__, "one without ScaledSteps")
        held = {p for group in optimizer.param_groups for p in group["params"]}
        found = constants_of(module, scales)
        self._attach(optimizer, {p: c for p, c in found.items() if p in held and c != 1})

    @classmethod
    def at(cls, optimizer: Optimizer, constants: Mapping[Tensor, float]) -> ScaledSteps:
        """The same by parameters instead of names."""
        made = cls.__new__(cls)
        made._attach(optimizer, dict(constants))
        return made

    def _attach(self, optimizer: Optimizer, constants: dict[Tensor, float]) -> None:
        self.optimizer, self.constants = optimizer, constants
        self._plain_gradients: list[Tensor | None] | None = None
        vars(optimizer)["_scaled_steps"] = self
        around_steps(optimizer, self._around)

    def rescale(self, factors: Mapping[Tensor, float], direction: int) -> None:
        """Follows parameters that were multiplied by c (direction 1) or divided by it (-1)."""
        for p, c in factors.items():
            old = self.constants.pop(p, 1.0)
            new = old * c if direction > 0 else old / c
            if new != 1:
                self.constants[p] = new

    @contextmanager
    def stored(self) -> Iterator[None]:
        """Inside, the parameters are the stored ones, and so are their gradients."""
        if self._plain_gradients is not None:
            yield
            return
        self._enter()
        try:
            yield
        finally:
            self._leave()

    @not_compiled
    @torch.no_grad()
    def _enter(self) -> None:
        if self.constants:
            torch._foreach_div_(list(self.constants), list(self.constants.values()))
        self._plain_gradients = [p.grad for p in self.constants]
        for p, c in self.constants.items():
            if p.grad is not None:
                p.grad = p.grad * c

    @not_compiled
    @torch.no_grad()
    def _leave(self) -> None:
        assert self._plain_gradients is not None
        if self.constants:
            torch._foreach_mul_(list(self.constants), list(self.constants.values()))
        for p, gradient in zip(self.constants, self._plain_gradients, strict=True):
            p.grad = gradient
        self._plain_gradients = None

    def _around(self, step: Step, *args: Any, **kwargs: Any) -> Any:
        with self.stored():
            return step(
                *map(self._on_plain_weights, args),
                **{key: self._on_plain_weights(value) for key, value in kwargs.items()},
            )

    def _on_plain_weights(self, argument: Any) -> Any:
        """A closure computes with the model, which is to be plain; the rest is none."""
        if not callable(argument):
            return argument

        def closure() -> Any:
            self._leave()
            try:
                return argument()
            finally:
                self._enter()

        return closure


def scaled_steps_of(optimizer: Optimizer) -> ScaledSteps | None:
    """What an optimizer runs under, or the one that it wraps (as accelerate's), if anything."""
    found = vars(optimizer).get("_scaled_steps")
    wrapped = vars(optimizer).get("optimizer")
    if found is None and isinstance(wrapped, Optimizer):
        return scaled_steps_of(wrapped)
    return cast("ScaledSteps | None", found)
