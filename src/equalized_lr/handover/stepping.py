"""Optimizers as they step: what is inside of a wrapper, and code that runs around each step."""

import functools
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

import torch
from torch.optim import Optimizer

from equalized_lr.errors import InvalidArgument, NotCopyable

F = TypeVar("F", bound=Callable[..., Any])


def optimizers_of(argument: object) -> list[Optimizer]:
    """One or several optimizers, as a list; an `InvalidArgument` if something else was given."""
    optimizers: list[Any] = list(argument) if isinstance(argument, Sequence) else [argument]
    for optimizer in optimizers:
        if not isinstance(optimizer, Optimizer):
            raise InvalidArgument("optimizer", optimizer, "a torch.optim.Optimizer, or several")
    return optimizers


def and_inner(optimizer: Optimizer) -> Iterator[Optimizer]:
    """An optimizer and those that it wraps, from the outside in."""
    chain = [optimizer]
    for outer in chain:
        yield outer
        chain += [v for v in vars(outer).values() if isinstance(v, Optimizer) and v not in chain]


def runs_hooks(optimizer: Optimizer) -> bool:
    """Whether its step calls step hooks: not if a wrapper is an Optimizer by its class only."""
    hooks = vars(optimizer).get("_optimizer_step_pre_hooks")
    return isinstance(hooks, OrderedDict) and hasattr(type(optimizer).step, "hooked")


def unwrapped(optimizer: Optimizer) -> Optimizer:
    """The optimizer inside of a wrapper that is one by its class only, as accelerate's."""
    return next(filter(runs_hooks, and_inner(optimizer)), optimizer)


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
    inner = optimizer.step

    def run(*args: Any, **kwargs: Any) -> Any:
        return around(inner, *args, **kwargs)

    run = not_compiled(run, recursive=False)  # the step in it may be

    # By itself, since marks of the compiler on `inner`, which `wraps` copies, would lead past it.
    @functools.wraps(inner)
    def step(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        return run(*args, **kwargs)

    def refuse() -> None:
        raise NotCopyable(type(optimizer).__name__)

    # A bound method, since schedulers ask for its function.
    vars(optimizer).update(step=types.MethodType(step, optimizer), __getstate__=refuse)
