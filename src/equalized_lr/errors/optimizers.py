"""Optimizers that cannot be translated."""

from equalized_lr.errors.base import EqualizedLRError


class UnknownOptimizer(EqualizedLRError, TypeError):
    text = """no translation is known for {kind}; a subclass does not inherit one, since it may
    change the rule. Use ScaledSteps(optimizer, module, scales), which is exact for every class.
    If {kind} wraps another optimizer, pass that one instead."""


class NoConstantTranslation(EqualizedLRError, ValueError):
    text = """parameter groups alone cannot translate {kind}: {reason}.
    Use implicit({kind}, module, ...), which does more than groups can."""


class UnknownState(EqualizedLRError, RuntimeError):
    text = """the state of this {kind} has '{key}', whose translation is not known. Call this
    without optimizer=, and let ScaledSteps(optimizer, module, scales) run it with its state."""


class NotTrained(EqualizedLRError, ValueError):
    text = """none of the weights that change their form is trained by {optimizer}, so there is
    nothing to translate. Give the optimizer that trains them, or leave optimizer= out."""


class SchedulerAttached(EqualizedLRError, RuntimeError):
    text = """the groups of this {kind} have an 'initial_lr', so a scheduler has been attached, and
    would go on with its rates for other groups. Call ScaledSteps(optimizer, module, scales=dict())
    first, which leaves the groups as they are; or go back to the beginning, group['lr'] =
    group.pop('initial_lr'), change the form, and step a new scheduler as often."""


class KeepsValues(EqualizedLRError, RuntimeError):
    text = """this {kind} has kept values in '{key}' that come from the weights as they are now, and
    would mix them with those of another form. Call ScaledSteps before it steps or is wrapped to
    average weights, load state_dicts afterwards, and wrap anew when the form has changed."""


class UnknownScale(EqualizedLRError, RuntimeError):
    text = """parameters have joined this {kind} whose c it does not know, so that it would train
    them untranslated. Call equalized_lr.optim.add_parameters(optimizer, module, ...), or give the
    new group 'equalized_scale': 1.0 if its numbers are right as they are."""


class OtherForm(EqualizedLRError, ValueError):
    text = """this {kind} cannot load the other form: c = {saved:.3g} in the state_dict for a group
    whose c is {own:.3g}. Load it into a model and an optimizer of that form, and change both by
    equalize_lr(model, init='keep', optimizer=...) or remove_equalized_lr(model, optimizer=...)."""


class InExplicitRates(EqualizedLRError, RuntimeError):
    text = """the groups of this {kind} have explicit numbers within explicit_rates, so it cannot
    step, be saved, loaded, copied or handed over. Leave the block: it is for schedulers alone."""


class NotCopyable(EqualizedLRError, RuntimeError):
    text = """a copy or pickle of this {kind} would lose what runs around its steps, and train
    differently. Build a second one in the same way, and load the state_dict into it."""
