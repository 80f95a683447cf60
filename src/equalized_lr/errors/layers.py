"""What equalized layers do not let themselves be used for, and what they do not load."""

from equalized_lr.errors.base import EqualizedLRError


class WrappedOnTop(EqualizedLRError, RuntimeError):
    text = """{where} cannot be removed, saved or assigned while {other} is on top of it.
    Remove that first, in the reverse order of application."""


class HookLost(EqualizedLRError, RuntimeError):
    text = """this {kind} is equalized, but its forward pre-hook, which knows c, was removed.
    Keep the hook when you clear others, and undo with remove_equalized_lr."""


class NotAssignable(EqualizedLRError, TypeError):
    text = """'{name}' is computed as c * {name}_orig, so it cannot be set to {value}. Assign an
    nn.Parameter (it is divided by c), write into {name}_orig, or call remove_equalized_lr first."""


class NotAParameter(EqualizedLRError, TypeError):
    text = """'{name}' of this {kind} cannot be a weight that an equalized layer has computed, since
    it would not follow that layer's training. To tie the two, equalize both in one call and assign
    then; for a copy, assign nn.Parameter(other.weight.detach().clone())."""


class NotConvertible(EqualizedLRError, RuntimeError):
    text = """this {kind} computes its weight, and {converter} would leave the layer out or fail
    halfway. Call remove_equalized_lr(model) first."""


class StaleWrite(EqualizedLRError, RuntimeError):
    text = """a weight of shape {shape} was written in place through a tensor that is out of date:
    the stored parameter has changed since layer.weight was read, so the write was not stored.
    Read layer.weight anew before each write: layer.weight.mul_(0.5) under torch.no_grad()."""


class LostData(EqualizedLRError, RuntimeError):
    text = """layer.weight.data of a weight of shape {shape} was replaced, but the weight is
    computed at each read, so the new values are gone. Assign a Parameter, layer.weight =
    nn.Parameter(values), or write in place, layer.weight.copy_(values) under torch.no_grad()."""


class NotRebuilt(EqualizedLRError, RuntimeError):
    text = """{kind:a} copies itself by its own code (__reduce__), without the stored weight and its
    c. Load plain_state_dict(model) into a new model instead, or copy before equalize_lr."""


class OtherScale(EqualizedLRError, RuntimeError):
    text = """'{stored}' was saved with c = {saved:.6g} and is loaded with c = {here:.6g}, and
    another reparametrization of it keeps it from being converted. Load it into a layer of one gain
    and lr_mul, or save plain weights after the other reparametrization was removed."""


class DistributedWrapper(EqualizedLRError, RuntimeError):
    text = """this model is inside of {kind:a} already: each process would draw other weights, and
    the wrapper would not see it. Call equalize_lr on the model first, then wrap it."""


class AmbiguousState(EqualizedLRError, RuntimeError):
    text = """the state_dict has both '{plain}' (effective) and '{stored}' (stored): one weight,
    given twice. Delete one of the two keys."""


class ForeignState(EqualizedLRError, RuntimeError):
    text = """'{stored}' was saved by a module that is not equalized by this library, so its c is
    not known. Convert the checkpoint with equalized_lr.checkpoint.to_plain, or give the effective
    weight as '{plain}'."""


class UnknownVersion(EqualizedLRError, RuntimeError):
    text = """the state_dict of {where} has format {version!r}, and this library knows formats up to
    {known}. Load the plain_state_dict of that model, or install a newer version."""


class NothingToFollow(EqualizedLRError, ValueError):
    text = """no parameter of this {kind} with two or more axes is trained by {optimizer}, so there
    is no speed to follow. Pass the module whose parameters the optimizer was given, after .to(...)
    and sharding. Weights that FSDP1 has flattened cannot be followed."""


class NothingMeasured(EqualizedLRError, RuntimeError):
    text = """no weight moved in {steps} steps of the optimizer. Call optimizer.step() inside
    `with LearningSpeed(module, optimizer) as speed:`, with gradients, before you ask for speeds."""
