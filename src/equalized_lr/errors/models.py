"""Arguments, weights and ties that cannot be used as they are, or whose fan is not clear."""

from equalized_lr.errors.base import EqualizedLRError


class NotAModule(EqualizedLRError, TypeError):
    text = """expected a torch.nn.Module, got {kind}.
    Pass the layer or the model itself, not its parameters or its state_dict."""


class InvalidArgument(EqualizedLRError, ValueError):
    text = "{argument}={value!r} cannot be used: expected {expected}."


class NothingToEqualize(EqualizedLRError, ValueError):
    text = "there is nothing to equalize in this {kind}: {reason}. {cure}."

    def __init__(self, kind: str, equalized: int) -> None:
        reason = "it has no layer whose weights `fans` knows, or `where` selects none"
        cure = (
            "Pass fans=observe(model, x), name one parameter, equalize_lr(layer, 'weight', "
            "fan=...), or register its layer type with `fans.register`"
        )
        if equalized:
            reason = f"its {equalized} known weight(s) are equalized already"
            cure = (
                "Call remove_equalized_lr on a layer that is to have another scale, and equalize "
                "it again: exceptions come before the whole model"
            )
        super().__init__(kind, reason, cure)


class UnknownParameter(EqualizedLRError, ValueError):
    text = """'{name}' is not a parameter of this {kind} itself (it has: {known}). {cure}, or leave
    the name out to equalize the whole model."""

    def __init__(self, name: str, kind: str, known: list[str]) -> None:
        path, dot, own = name.rpartition(".")
        cure = f"Pass model.get_submodule('{path}') and '{own}'" if dot else ""
        super().__init__(name, kind, known, cure or "Pass the module that holds it")


class UnknownFan(EqualizedLRError, ValueError):
    text = """`fans` does not know how many connections '{name}' of {kind} has. Give the number,
    equalize_lr(layer, '{name}', fan=...), or register the layer type: @fans.register({kind})."""


class AlreadyEqualized(EqualizedLRError, RuntimeError):
    text = """'{name}' of this {kind} is equalized already, with c = {scale:.6g}.
    To change its scale call remove_equalized_lr(layer, '{name}') first."""


class NotEqualized(EqualizedLRError, ValueError):
    text = "{what} is not equalized. Ask is_equalized(module, name) first if you are not sure."


class WrongGenerator(EqualizedLRError, RuntimeError):
    text = """{where} is on {device}, but the generator is on {generator}.
    Give torch.Generator('{device}'), or move the model after equalizing."""


class LazyWeight(EqualizedLRError, ValueError):
    text = """{where} is lazy: it has no shape before the first forward, so its fan is unknown.
    Run one forward with real input, then call equalize_lr."""


class EmptyWeight(EqualizedLRError, ValueError):
    text = """{where} has no elements (shape {shape}), so it has no fan and no scale.
    Leave the layer out with where=."""


class UnsupportedWeight(EqualizedLRError, TypeError):
    text = """{where} is {kind}: only ordinary tensors of floating-point or complex numbers can be
    equalized. Equalize before you quantize or convert, or leave the layer out with where=."""


class Unscalable(EqualizedLRError, ValueError):
    text = """{where} divided by c = {scale:.3g} does not fit into {dtype}.
    Equalize in float32 and convert afterwards, or choose an lr_mul nearer to 1."""


class ShardedWeight(EqualizedLRError, RuntimeError):
    text = """{where} is sharded already, and FSDP refers to the shards by their present names.
    Call equalize_lr before fully_shard or FSDP, remove_equalized_lr on a model that is not sharded,
    and plain_state_dict on FSDP1's inner module within FSDP.summon_full_params."""


class OffloadedWeight(EqualizedLRError, RuntimeError):
    text = """{where} is offloaded: accelerate keeps its values elsewhere, under its name.
    Call equalize_lr before offloading, and accelerate.hooks.remove_hook_from_submodules(model)
    before remove_equalized_lr."""


class ParallelizeFirst(EqualizedLRError, RuntimeError):
    text = """'{name}' of this {kind} is equalized, and cannot become a DTensor: some styles of
    tensor parallelism would mistake the effective weight for the stored one.
    Call parallelize_module, then equalize_lr, then fully_shard."""


class OwnedWeight(EqualizedLRError, RuntimeError):
    text = """{where} cannot be equalized on top of {owner}. Remove that first, or leave it out
    with where=. To have both, equalize first and put torch's parametrization on 'weight_orig'."""


class NameTaken(EqualizedLRError, RuntimeError):
    text = """{where} would be stored as '{stored}', but the layer has an attribute of that name.
    Rename the attribute, or leave the layer out with where=."""


class FixedClass(EqualizedLRError, TypeError):
    text = """{where} needs a subclass of {kind}, which Python refuses to make: {reason}.
    Leave the layer out with where=, or put its weight into a layer of torch.nn."""


class Renormalized(EqualizedLRError, ValueError):
    text = """{where} has a max_norm: each look-up shortens vectors in place, but those of an
    equalized embedding are computed, so the stored ones would keep their length.
    Set max_norm=None and shorten them yourself, or leave the layer out with where=."""


class ConflictingTie(EqualizedLRError, ValueError):
    text = """one shared parameter cannot have two scales: {needs}.
    Untie the layers, or leave one out with where= (it then follows the other)."""

    def __init__(self, scales: list[tuple[str, float]]) -> None:
        super().__init__([f"{where} needs c = {scale:.6g}" for where, scale in scales])


class TiedToEqualized(EqualizedLRError, ValueError):
    text = """{where} is the stored parameter of {other}, which is equalized already with
    c = {scale:.6g}. Call remove_equalized_lr on that layer, then equalize both in one call."""


class TiedElsewhere(EqualizedLRError, RuntimeError):
    text = """{where} is shared with {holder:a} outside the given module, which would go on with
    values of another scale. Call this on a module that holds both. If one is a copy, make it with
    copy.deepcopy, since copy.copy shares weights. To tie an equalized weight, tie first and
    equalize then, or assign the stored parameter (a.weight_orig = b.weight_orig)."""


class SharedMemory(EqualizedLRError, RuntimeError):
    text = """{where} lies in the same memory as '{other}': rescaling one would change both. Tie
    them, a.weight = b.weight, or give one its own, a.weight.data = a.weight.data.clone()."""


class TiedAssignment(EqualizedLRError, RuntimeError):
    text = """{where} is tied to {holder:a}: the assigned values would go into both, where torch
    would untie them. To change both, write value / c into weight_orig under torch.no_grad();
    to untie, assign the stored parameter, layer.weight_orig = nn.Parameter(value / c)."""


class AlreadyScaled(EqualizedLRError, RuntimeError):
    text = """{where} is equalized by hand: the module multiplies it by {constant:.6g} before it is
    used{more}. equalize_lr would scale it once more. Remove that constant from the module's
    forward, or leave its equalization as it is and observe the other modules one by one."""

    def __init__(self, where: str, constant: float, others: int = 0) -> None:
        more = f", and so it does with {others} others" if others else ""
        super().__init__(where, constant, more)


class UnclearFan(UserWarning):
    """A parameter is used in a way that does not show one fan, so it is left out."""

    def __init__(self, where: str, uses: str) -> None:
        super().__init__(
            f"{where} has no fan of its own: {uses}. It is left out of the result. "
            'Add it by hand: observe(...) | {"name": Fan(fan_in, fan_out)}.'
        )


class LeftAlone(UserWarning):
    """A whole-model call leaves weights alone, or scales some that may be scaled by hand."""
