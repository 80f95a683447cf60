"""The errors: each says what was given, where, why it cannot be, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


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
            "Call equalize_lr before fully_shard or FSDP, remove_equalized_lr on a model that "
            "is not sharded, and plain_state_dict on FSDP1's inner module within "
            "FSDP.summon_full_params."
        )


class OffloadedWeight(EqualizedLRError, RuntimeError):
    """A weight is not there: accelerate keeps its values and brings them in each forward."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"{where} is offloaded: accelerate keeps its values elsewhere, under its name. "
            "Call equalize_lr before offloading, and "
            "accelerate.hooks.remove_hook_from_submodules(model) before remove_equalized_lr."
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
            "with values of another scale. Call this on a module that holds both; to tie an "
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
            f"{where} cannot be given back while {other} is on top of it. "
            "Remove that first, in the reverse order of application."
        )


class HookLost(EqualizedLRError, RuntimeError):
    """The hook that knows the constant of an equalized layer is gone."""

    def __init__(self, kind: str) -> None:
        super().__init__(
            f"this {kind} is equalized, but its forward pre-hook, which knows c, was removed: "
            "somebody cleared its hooks, or it shares them with a copy.copy that was given back. "
            "Keep the hook, copy with copy.deepcopy, and undo with remove_equalized_lr."
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


class ForeignState(EqualizedLRError, RuntimeError):
    """A stored weight was saved by code that does not say with which constant."""

    def __init__(self, stored: str, plain: str) -> None:
        super().__init__(
            f"'{stored}' was saved by a module that is not equalized by this library, so its "
            "constant is not known. Convert the checkpoint with equalized_lr.checkpoint.to_plain, "
            f"or give the effective weight as '{plain}'."
        )


class UnknownVersion(EqualizedLRError, RuntimeError):
    """A state_dict was saved by a later version of this library."""

    def __init__(self, where: str, version: object, known: int) -> None:
        super().__init__(
            f"the state_dict of {where} has format {version!r}, and this library knows formats up "
            f"to {known}. Give it the plain_state_dict of that model, or install a newer version."
        )


class UnknownFamily(EqualizedLRError, ValueError):
    """No rules are known for checkpoints of this code base."""

    def __init__(self, name: object, known: Sequence[str]) -> None:
        super().__init__(f"no family is called {name!r}. Name one of: {', '.join(known)}.")


class UnknownFact(EqualizedLRError, TypeError):
    """A fact was given that the rules of the family do not use."""

    def __init__(self, name: str, family: str, known: Sequence[str]) -> None:
        super().__init__(
            f"'{name}' is no fact of {family} checkpoints, whose facts are: "
            f"{', '.join(known) or 'none'}. Leave it out, or name another family."
        )


class UnknownKeys(EqualizedLRError, ValueError):
    """A checkpoint has keys that its family does not have."""

    def __init__(
        self,
        family: str,
        keys: Sequence[tuple[str, Sequence[int]]],
        likely: Sequence[str] = (),
    ) -> None:
        shown = ", ".join(f"'{key}' {tuple(shape)}" for key, shape in keys[:50])
        more = f" and {len(keys) - 50} more" if len(keys) > 50 else ""
        other = f"The names look like {' or '.join(likely)}: name that family. " if likely else ""
        super().__init__(
            f"{len(keys)} key(s) are not known in {family} checkpoints: {shown}{more}. {other}"
            "Keys are not guessed: remove those that belong to something else."
        )
        self.keys = list(keys)


class UnfitTensor(EqualizedLRError, ValueError):
    """A tensor cannot be what its name says."""

    def __init__(self, key: str, shape: Sequence[int], given: str, expected: str) -> None:
        super().__init__(
            f"'{key}' of shape {tuple(shape)} {given}, where this family has {expected}. "
            "Name the family that the file comes from, and give the file as it was written."
        )


class UnscalableValues(EqualizedLRError, ValueError):
    """The converted values would not fit into the tensor's dtype."""

    def __init__(self, key: str, scale: float, dtype: str, divided: bool) -> None:
        super().__init__(
            f"'{key}' {'divided' if divided else 'multiplied'} by c = {scale:.3g} does not fit "
            f"into {dtype}. Give it in float32."
        )


class Undecided(EqualizedLRError, ValueError):
    """A file does not say which of several rules holds for it."""

    def __init__(self, family: str, fact: str, choices: Sequence[str]) -> None:
        super().__init__(
            f"the tensors do not tell surely by which rule of {family} they are stored. "
            f"Give {fact}={' or '.join(map(repr, choices))}."
        )


class NotAStateDict(EqualizedLRError, TypeError):
    """Something else than tensors by name was given."""

    def __init__(self, given: str, entries: Sequence[str]) -> None:
        found = f" It holds: {', '.join(entries[:30])}." if entries else ""
        super().__init__(
            f"expected the state_dict of one network, tensors by name, got {given}.{found} "
            "Pass the entry of one network, such as checkpoint['g_ema'], without its optimizer."
        )


class UnreadableFile(EqualizedLRError, ValueError):
    """A file is missing, damaged, or of another kind than its name says."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"{path} cannot be read: {reason}. "
            "Give a .pt, .safetensors or .npz file that is there and complete."
        )


class UnsafeFile(EqualizedLRError, ValueError):
    """Reading a file would mean to run code that is in it."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"{path} is not read, since that would run code from the file: {reason}. Load it in "
            "the code base that it comes from, if you trust it, and save tensors alone there: "
            "torch.save(network.state_dict(), 'network.pt')."
        )


class UnwritableFile(EqualizedLRError, ValueError):
    """A file cannot be written."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"{path} cannot be written, and nothing was: {reason}. "
            "Give another name, or another format."
        )


class MissingPackage(EqualizedLRError, RuntimeError):
    """A format needs a package that is not installed."""

    def __init__(self, package: str) -> None:
        super().__init__(
            f"this format needs the package {package}, which is not installed. "
            f"Run pip install {package}, or give a .pt file."
        )


class NoSuchEntry(EqualizedLRError, ValueError):
    """A file holds several networks, and none was named."""

    def __init__(self, entry: str | None, found: Mapping[str, int]) -> None:
        problem = "no entry was named" if entry is None else f"there is no entry '{entry}'"
        listing = ", ".join(f"'{path}' ({count} keys)" for path, count in found.items())
        super().__init__(
            f"{problem}, and the file holds: {listing or 'no tensors by name'}. "
            "Name one with --entry."
        )
