"""Weights that cannot be equalized, as they are and where they are."""

from __future__ import annotations

from collections.abc import Sequence

from equalized_lr.errors.base import EqualizedLRError


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


class Unscalable(EqualizedLRError, ValueError):
    """The stored values would not fit into the weight's dtype."""

    def __init__(self, where: str, scale: float, dtype: str) -> None:
        super().__init__(
            f"{where} divided by c = {scale:.3g} does not fit into {dtype}. "
            "Equalize in float32 and convert then, or choose an lr_mul nearer to 1."
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


class Renormalized(EqualizedLRError, ValueError):
    """An embedding that shortens its vectors where they lie."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"{where} has a max_norm: each look-up shortens vectors in place, but equalized ones "
            "are computed, and the stored ones would stay as long as they are. Set "
            "max_norm=None and shorten them yourself, or leave the layer out with where=."
        )
