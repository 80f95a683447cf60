"""Trainings in which there is nothing to see."""

from __future__ import annotations

from equalized_lr.errors.base import EqualizedLRError


class NothingToFollow(EqualizedLRError, ValueError):
    """An optimizer trains none of a module's weights."""

    def __init__(self, kind: str, optimizer: str) -> None:
        super().__init__(
            f"{optimizer} trains no parameter of this {kind} that has two or more axes, so there "
            "is no speed to follow. Pass the module whose parameters the optimizer was given, "
            "after .to(...) and sharding; FSDP1 flattens weights, and cannot be followed."
        )


class NothingMeasured(EqualizedLRError, RuntimeError):
    """A speed is asked for before any weight was seen to move."""

    def __init__(self, steps: int) -> None:
        super().__init__(
            f"no weight was seen to move in {steps} steps of the optimizer. Call optimizer.step() "
            "inside `with LearningSpeed(module, optimizer) as speed:`, with gradients, before you "
            "ask for speeds."
        )
