"""Optimizers that cannot be translated."""

from __future__ import annotations

from collections.abc import Sequence

from equalized_lr.errors.base import EqualizedLRError


class UnknownOptimizer(EqualizedLRError, TypeError):
    """An optimizer class whose numbers nobody has translated."""

    def __init__(self, kind: str) -> None:
        super().__init__(
            f"no translation is known for {kind}, nor inherited: a subclass may have changed the "
            "rule. Use ScaledSteps(optimizer, module, scales), which is exact for every class; "
            "a wrapper, unwrap."
        )


class NoConstantTranslation(EqualizedLRError, ValueError):
    """Parameter groups alone cannot make this optimizer exact."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(
            f"parameter groups alone cannot translate {kind}: {reason}. "
            f"Use implicit({kind}, module, ...), which does more than groups can."
        )


class UnknownState(EqualizedLRError, RuntimeError):
    """An optimizer has kept something whose translation is not known."""

    def __init__(self, kind: str, key: str) -> None:
        super().__init__(
            f"the state of this {kind} has '{key}', which the known rule has not, and which is not "
            "guessed. Give the weights back without optimizer=, and let "
            "ScaledSteps(optimizer, module, scales) run it with the state that it has."
        )


class NotTrained(EqualizedLRError, ValueError):
    """An optimizer was given that holds none of the weights."""

    def __init__(self, kind: str) -> None:
        super().__init__(
            f"this {kind} holds none of the weights that are to change their form, so there is "
            "nothing to translate. Give the optimizer that trains them, or none."
        )


class SchedulerAttached(EqualizedLRError, RuntimeError):
    """A scheduler goes by the groups of an optimizer that are to be translated."""

    def __init__(self, kind: str) -> None:
        super().__init__(
            f"a {kind} is attached to the optimizer, and would go on with its rates for other "
            "groups. Keep n = scheduler.last_epoch and delete it; change the form; then make a new "
            "one with last_epoch=n - 1, for which the groups have their 'initial_lr'."
        )


class MixedPhases(EqualizedLRError, RuntimeError):
    """A group of RAdam has parameters before and after their rectification."""

    def __init__(self, steps: Sequence[int]) -> None:
        super().__init__(
            f"parameters of one group of RAdam are at steps {', '.join(map(str, steps))}, some of "
            "which are rectified and some not: no one rate is exact for them. Put parameters that "
            "start to train later into a group of their own, or use ScaledSteps."
        )


class NotCopyable(EqualizedLRError, RuntimeError):
    """A copy of an optimizer would lose what runs around its steps."""

    def __init__(self, kind: str) -> None:
        super().__init__(
            f"a copy or pickle of this {kind} would lose what runs around its steps, and train "
            "differently. Build a second one in the same way, and load the state_dict into it."
        )
