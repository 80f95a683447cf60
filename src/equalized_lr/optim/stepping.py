"""Code that runs around every step of an optimizer, whatever happens in the step."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
from torch.optim import Optimizer

from equalized_lr.errors import InvalidArgument, NotCopyable

Step = Callable[..., Any]
F = TypeVar("F", bound=Callable[..., Any])


def optimizers_of(given: object) -> list[Optimizer]:
    """One or several optimizers, as a list.

    Raises:
        InvalidArgument: something else was given.
    """
    optimizers: list[Any] = list(given) if isinstance(given, Sequence) else [given]
    for optimizer in optimizers:
        if not isinstance(optimizer, Optimizer):
            raise InvalidArgument("optimizer", optimizer, "a torch.optim.Optimizer, or several")
    return optimizers


def unwrapped(optimizer: Optimizer) -> Optimizer:
    """The optimizer inside of a wrapper that is one by its class only, as accelerate's."""
    if hasattr(optimizer, "_optimizer_step_pre_hooks"):
        return optimizer
    return unwrapped(vars(optimizer)["optimizer"])


def not_compiled(function: F, *, recursive: bool = True) -> F:
    """Keeps torch.compile out of a function, for which it could only compile anew in each step."""
    # As torch's optimizers do it: torch.compiler.disable would import the compiler here and now.
    disable: Any = vars(torch)["_disable_dynamo"]
    return cast(F, disable(function, recursive=recursive))


def around_steps(optimizer: Optimizer, around: Callable[..., Any]) -> None:
    """Lets `around(step, *args, **kwargs)` run in the place of each step of this optimizer.

    Note [Around a step]: torch's step hooks would do, but for two things. After an exception in
    the step the post hook is not called, and what the pre hook changed would stay changed. And a
    copy or pickle of an optimizer loses its hooks without a word. So the method is wrapped on the
    instance, as torch's schedulers do it, and copying is refused as long as there is a wrapper.
    """
    inner: Any = optimizer.step
    function = getattr(inner, "__func__", None)  # none if a scheduler has wrapped it before

    @functools.wraps(inner)
    def step(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        bound = functools.partial(function, self) if function else inner
        return run(bound, *args, **kwargs)

    def run(bound: Step, *args: Any, **kwargs: Any) -> Any:
        return around(bound, *args, **kwargs)

    run = not_compiled(run, recursive=False)  # the step in it may be

    def refuse() -> None:
        raise NotCopyable(type(optimizer).__name__)

    # A bound method, since schedulers ask for its function.
    vars(optimizer).update(step=types.MethodType(step, optimizer), __getstate__=refuse)
