"""The errors: each says what was given, where, why it cannot be, and what to do."""

from __future__ import annotations

from collections.abc import Sequence


class EqualizedLRError(Exception):
    """The base of all errors of this library."""

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (type(self), str(self))


def _restore(kind: type[EqualizedLRError], message: str) -> EqualizedLRError:
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    return error


class NotAModule(EqualizedLRError, TypeError):
    """Something else than an `nn.Module` was given."""

    def __init__(self, given: object) -> None:
        super().__init__(
            f"expected a torch.nn.Module, got {type(given).__name__}. "
            "Pass the layer or the model itself, not its parameters or its state_dict."
        )


class InvalidArgument(EqualizedLRError, ValueError):
    """An argument has a value that cannot be used."""

    def __init__(self, argument: str, given: object, expected: str) -> None:
        super().__init__(f"{argument}={given!r} cannot be used: expected {expected}.")


class NothingToEqualize(EqualizedLRError, ValueError):
    """A whole-model call found no weight that is not equalized already."""

    def __init__(self, kind: str, equalized: int) -> None:
        why = (
            f"its {equalized} known weight(s) are equalized already"
            if equalized
            else "it holds no layer whose weights `fans` knows, or `where` selects none"
        )
        super().__init__(
            f"there is nothing to equalize in this {kind}: {why}. "
            "Name one parameter, equalize_lr(layer, 'weight', fan=...), "
            "or register its layer type with `fans.register`."
        )


class UnknownParameter(EqualizedLRError, ValueError):
    """The named parameter does not exist."""

    def __init__(self, name: str, kind: str, known: Sequence[str]) -> None:
        listing = ", ".join(known) or "none"
        super().__init__(
            f"'{name}' is not a parameter of this {kind} itself (it has: {listing}). "
            "Pass the module that holds it, or leave the name out to equalize the whole model."
        )


class UnknownFan(EqualizedLRError, ValueError):
    """The number of connections of the named parameter is not known."""

    def __init__(self, name: str, kind: str) -> None:
        super().__init__(
            f"`fans` does not know how many connections '{name}' of {kind} has. "
            f"Give the number, equalize_lr(layer, '{name}', fan=...), "
            f"or register the layer type: @fans.register({kind})."
        )


class AlreadyEqualized(EqualizedLRError, RuntimeError):
    """The named parameter is equalized already."""

    def __init__(self, name: str, kind: str, scale: float) -> None:
        super().__init__(
            f"'{name}' of this {kind} is equalized already, with c = {scale:.6g}. "
            f"To change its scale call remove_equalized_lr(layer, '{name}') first."
        )


class LazyWeight(EqualizedLRError, ValueError):
    """A lazy weight has no shape yet."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"{where} is lazy: it has no shape before the first forward, so its fan is unknown. "
            "Run one forward with real input, then call equalize_lr."
        )


class EmptyWeight(EqualizedLRError, ValueError):
    """A weight has no elements."""

    def __init__(self, where: str, shape: Sequence[int]) -> None:
        super().__init__(
            f"{where} has no elements (shape {tuple(shape)}), so it has no fan and no scale. "
            "Leave the layer out with where=."
        )


class UnsupportedWeight(EqualizedLRError, TypeError):
    """A weight is of a kind that cannot be stored as N(0, 1) and scaled."""

    def __init__(self, where: str, kind: str) -> None:
        super().__init__(
            f"{where} is {kind}: only floating-point and complex parameters that are "
            "ordinary tensors can be equalized. "
            "Equalize before quantizing or converting, or leave the layer out with where=."
        )


class ShardedWeight(EqualizedLRError, RuntimeError):
    """A weight is distributed over processes already."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"{where} is sharded already, and FSDP has bound its shards to its name. "
            "Call equalize_lr before fully_shard or FSDP, and remove_equalized_lr on a model that "
            "is not sharded."
        )


class ParallelizeFirst(EqualizedLRError, RuntimeError):
    """Tensor parallelism is to distribute a weight that is equalized already."""

    def __init__(self, name: str, kind: str) -> None:
        super().__init__(
            f"'{name}' of this {kind} is equalized, and cannot become a DTensor: some styles of "
            "tensor parallelism would take the effective weight for the stored one. "
            "Call parallelize_module, then equalize_lr, then fully_shard."
        )


class OwnedWeight(EqualizedLRError, RuntimeError):
    """Another reparametrization is on the layer already."""

    def __init__(self, where: str, owner: str) -> None:
        super().__init__(
            f"{where} cannot be equalized on top of {owner}. "
            "Remove that first, or leave the layer out with where=. To combine the two, equalize "
            "first and put torch's parametrization on the stored parameter, 'weight_orig'."
        )


class NameTaken(EqualizedLRError, RuntimeError):
    """The name under which the stored weight would go is in use."""

    def __init__(self, where: str, stored: str) -> None:
        super().__init__(
            f"{where} would be stored as '{stored}', but the layer has an attribute of that name. "
            "Rename the attribute, or leave the layer out with where=."
        )


class FixedClass(EqualizedLRError, TypeError):
    """The class of the layer cannot be exchanged for a subclass."""

    def __init__(self, where: str, kind: str, reason: str) -> None:
        super().__init__(
            f"{where} needs a subclass of {kind} to compute it in, and Python refuses: {reason}. "
            "Leave the layer out with where=, or put its weight into a layer of torch.nn."
        )


class ConflictingTie(EqualizedLRError, ValueError):
    """One Parameter, held by several layers that need different scales."""

    def __init__(self, scales: Sequence[tuple[str, float]]) -> None:
        listing = ", ".join(f"{where} needs c = {scale:.6g}" for where, scale in scales)
        super().__init__(
            f"one shared parameter cannot have two scales: {listing}. "
            "Untie the layers, or leave one out with where= (it then follows the other)."
        )


class TiedToEqualized(EqualizedLRError, ValueError):
    """A Parameter is the stored one of an equalized layer and the plain one of another."""

    def __init__(self, where: str, other: str, scale: float) -> None:
        super().__init__(
            f"{where} is the stored parameter of {other}, which is equalized already with "
            f"c = {scale:.6g}. Call remove_equalized_lr on that layer, "
            "then equalize both in one call."
        )


class TiedElsewhere(EqualizedLRError, RuntimeError):
    """A Parameter is shared with a module outside of the one that was given."""

    def __init__(self, where: str, holder: str) -> None:
        super().__init__(
            f"{where} is shared with a {holder} outside of the module given, which would go on "
            "with values of another scale. Call this on a module that holds both (and copy with "
            "copy.deepcopy, since a copy.copy shares its weights); to tie an "
            "equalized weight, tie first and equalize then, or assign the stored parameter "
            "(a.weight_orig = b.weight_orig)."
        )


class SharedMemory(EqualizedLRError, RuntimeError):
    """Two tensors lie in one memory, but are not one Parameter."""

    def __init__(self, where: str, other: str) -> None:
        super().__init__(
            f"{where} lies in the same memory as '{other}', and rescaling one would change the "
            "other. Tie them as one Parameter (a.weight = b.weight), or give one its own memory "
            "(a.weight.data = a.weight.data.clone())."
        )


class TiedAssignment(EqualizedLRError, RuntimeError):
    """A Parameter was assigned to one end of a tie."""

    def __init__(self, where: str, holder: str) -> None:
        super().__init__(
            f"{where} is tied to a {holder}: the assigned values would go into both, where torch "
            "would untie them. To change both, write value / c into weight_orig under "
            "torch.no_grad(); to untie, assign the stored parameter, "
            "layer.weight_orig = nn.Parameter(value / c)."
        )


class Renormalized(EqualizedLRError, ValueError):
    """An embedding that shortens its vectors where they lie."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"{where} has a max_norm: each look-up shortens vectors in place, but equalized ones "
            "are computed, and the stored ones would stay as long as they are. Set "
            "max_norm=None and shorten them yourself, or leave the layer out with where=."
        )


class Unscalable(EqualizedLRError, ValueError):
    """The stored values would not fit into the weight's dtype."""

    def __init__(self, where: str, scale: float, dtype: str) -> None:
        super().__init__(
            f"{where} divided by c = {scale:.3g} does not fit into {dtype}. "
            "Equalize in float32 and convert then, or choose an lr_mul nearer to 1."
        )


class WrongGenerator(EqualizedLRError, RuntimeError):
    """The generator is for another device."""

    def __init__(self, where: str, device: str, generator: str) -> None:
        super().__init__(
            f"{where} lies on {device}, but the generator is for {generator}. "
            f"Give torch.Generator('{device}'), or move the model after equalizing."
        )


class NotEqualized(EqualizedLRError, ValueError):
    """There is nothing to remove."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} is not equalized, so there is nothing to remove. "
            "Ask is_equalized(module, name) first if you are not sure."
        )


class WrappedOnTop(EqualizedLRError, RuntimeError):
    """Something else was put on top of the equalized weight."""

    def __init__(self, where: str, other: str) -> None:
        super().__init__(
            f"{where} cannot be given back, saved or assigned while {other} is on top of it. "
            "Remove that first, in the reverse order of application."
        )


class HookLost(EqualizedLRError, RuntimeError):
    """The hook that knows the constant of an equalized layer is gone."""

    def __init__(self, kind: str) -> None:
        super().__init__(
            f"this {kind} is equalized, but its forward pre-hook, which knows c, was removed: "
            "somebody cleared its hooks. Keep the hook, and undo with remove_equalized_lr."
        )


class NotAssignable(EqualizedLRError, TypeError):
    """An equalized weight was assigned something else than a Parameter."""

    def __init__(self, name: str, given: str) -> None:
        super().__init__(
            f"'{name}' is computed as c * {name}_orig, so it cannot be set to {given}. "
            f"Assign an nn.Parameter (it is divided by c and stored), write into {name}_orig, "
            "or call remove_equalized_lr first."
        )


class NotConvertible(EqualizedLRError, RuntimeError):
    """A converter was called that goes by the class of a layer, or by its Parameter."""

    def __init__(self, kind: str, converter: str) -> None:
        super().__init__(
            f"{converter} does not know this {kind}, whose weight is computed: it would leave the "
            "layer out, or fail half way. Call remove_equalized_lr(model) first."
        )


class AmbiguousState(EqualizedLRError, RuntimeError):
    """A state_dict holds one weight twice, plain and stored."""

    def __init__(self, plain: str, stored: str) -> None:
        super().__init__(
            f"the state_dict has both '{plain}' (effective) and '{stored}' (stored): "
            "one weight, given twice. Delete one of the two keys."
        )
