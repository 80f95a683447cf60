"""Parameters and memory that several hold."""

from __future__ import annotations

from collections.abc import Sequence

from equalized_lr.errors.base import EqualizedLRError


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
