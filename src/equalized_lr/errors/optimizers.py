"""Optimizers that cannot be translated."""

from __future__ import annotations

from equalized_lr.errors.base import EqualizedLRError


class UnknownOptimizer(EqualizedLRError, TypeError):
    """No translation is known for the class of an optimizer."""

    text = """no translation is known for {kind}; a subclass does not inherit one, since it may
    change the rule. Use ScaledSteps(optimizer, module, scales), which is exact for every class.
    If {kind} wraps another optimizer, pass that one instead."""


class NoConstantTranslation(EqualizedLRError, ValueError):
    """Parameter groups alone cannot make this optimizer exact."""

    text = """parameter groups alone cannot translate {kind}: {reason}.
    Use implicit({kind}, module, ...), which does more than groups can."""


class UnknownState(EqualizedLRError, RuntimeError):
    """The state of an optimizer has an entry whose translation is not known."""

    text = """the state of this {kind} has '{key}', whose translation is not known and is not
    guessed. Call this without optimizer=, and let ScaledSteps(optimizer, module, scales) run the
    optimizer with the state that it has."""


class NotTrained(EqualizedLRError, ValueError):
    """An optimizer was given that trains none of the weights."""

    text = """none of the weights that change their form is trained by {optimizer}, so there is
    nothing to translate. Give the optimizer that trains them, or leave optimizer= out."""


class SchedulerAttached(EqualizedLRError, RuntimeError):
    """A scheduler would set the rates of groups that are to be translated."""

    text = """{scheduler:a} is attached to the optimizer, and would go on with the rates of the old
    groups. Keep n = scheduler.last_epoch and delete the scheduler; change the form; then make a new
    one with last_epoch=n - 1, for which the groups have their 'initial_lr'."""


class MixedPhases(EqualizedLRError, RuntimeError):
    """A group of RAdam has parameters before and after their rectification."""

    text = """parameters of one group of RAdam are at steps {steps}: some of them are rectified and
    some are not, so no single rate is exact. Put parameters that start to train later into a group
    of their own, or use ScaledSteps."""


class NotCopyable(EqualizedLRError, RuntimeError):
    """A copy of an optimizer would lose the hooks around its steps."""

    text = """a copy or pickle of this {kind} would lose what runs around its steps, and train
    differently. Build a second one in the same way, and load the state_dict into it."""
