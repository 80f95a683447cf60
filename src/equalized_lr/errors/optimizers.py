"""Optimizers that cannot be translated."""

from __future__ import annotations

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
            f"a scheduler has written 'initial_lr' into the groups of this {kind}, and would go on "
            "with its rates for other groups. Call ScaledSteps(optimizer, module, scales={}) "
            "first, and the groups stay as they are. Or go back to where the schedule began, "
            "group['lr'] = group.pop('initial_lr'), change the form, and make a new scheduler; "
            "step it as often as the old one."
        )


class KeepsValues(EqualizedLRError, RuntimeError):
    """An optimizer has kept values of weights, or of their gradients, in their present form."""

    def __init__(self, kind: str, key: str) -> None:
        super().__init__(
            f"this {kind} has kept values in '{key}' that were computed from the weights as they "
            "are now, and would mix them with those of another form. Call ScaledSteps before an "
            "optimizer steps or is wrapped by one that averages weights, load state_dicts "
            "afterwards, and make such a wrapper anew when the form has changed."
        )


class UnknownScale(EqualizedLRError, RuntimeError):
    """Parameters have joined a translated optimizer, and nobody has said their c."""

    def __init__(self, kind: str) -> None:
        super().__init__(
            f"parameters have joined this {kind} whose c it does not know, so that it would train "
            "them untranslated. Call equalized_lr.optim.add_parameters(optimizer, module, ...), "
            "or give the new group 'equalized_scale': 1.0 if its numbers are right as they are."
        )


class OtherForm(EqualizedLRError, ValueError):
    """A state_dict of the explicit form is loaded into an implicit optimizer, or vice versa."""

    def __init__(self, kind: str, saved: float, own: float) -> None:
        super().__init__(
            f"the state_dict has c = {saved:.3g} for a group of this {kind} whose c is {own:.3g}: "
            "it was saved in the other form. Load it into a model and an optimizer of that form, "
            "and change the form of both, by equalize_lr(model, init='keep', optimizer=optimizer) "
            "or remove_equalized_lr(model, optimizer=optimizer)."
        )


class InExplicitRates(EqualizedLRError, RuntimeError):
    """Something else than a schedule was tried within `explicit_rates`."""

    def __init__(self, kind: str) -> None:
        super().__init__(
            f"the groups of this {kind} have the numbers of the explicit form within "
            "explicit_rates, so it cannot step, be saved, loaded, copied or handed over there. "
            "Leave the block first; make and step schedulers in it."
        )


class NotCopyable(EqualizedLRError, RuntimeError):
    """A copy of an optimizer would lose what runs around its steps."""

    def __init__(self, kind: str) -> None:
        super().__init__(
            f"a copy or pickle of this {kind} would lose what runs around its steps, and train "
            "differently. Build a second one in the same way, and load the state_dict into it."
        )
