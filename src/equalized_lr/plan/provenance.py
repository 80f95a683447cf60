"""What a tensor owes to the parameters of a module, and how operations hand that on."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, NamedTuple

UNKNOWN = math.nan  # it compares equal to nothing, and stays what it is in any sum or product


class Level(IntEnum):
    """What a tensor's values depend on; of several sources the last in this order counts."""

    CONSTANT = 0
    LEARNED = 1
    RANDOM = 2
    INPUT = 3


@dataclass(frozen=True)
class Provenance:
    """Where a tensor comes from.

    Attributes:
        level: what its values depend on.
        degrees: the parameters that it is derived from, by their keys. The number is the degree:
            twice the parameter is 2**degree times the tensor. Views, casts and sums have degree 1,
            `w / w.norm()` has degree 0, and what is no power at all has an unknown one.
        constant: the constant by which it was multiplied on the way.
        faint: whether it is an activation that a parameter had a part in, by a gain or by a
            contraction. It is a weight only where an operation says that its operand is one.
        spread: how much larger the last product with an activation was than the activation.
    """

    level: Level = Level.CONSTANT
    degrees: Mapping[int, float] = field(default_factory=dict)
    constant: float = 1.0
    faint: bool = False
    spread: float = 0.0

    @property
    def is_weight(self) -> bool:
        """Whether an operation that takes it can take it for a weight."""
        return bool(self.degrees) and not self.faint

    @property
    def is_modulated(self) -> bool:
        """Whether it is a weight times an activation, each element of which meets many weights."""
        linear = all(0 <= degree <= 1 for degree in self.degrees.values())
        return self.is_weight and self.level is Level.INPUT and self.spread > 1 and linear


class Operand(NamedTuple):
    """One tensor, or number, that goes into an operation.

    Attributes:
        size: its number of elements.
        source: where it comes from.
        floating: whether it has values; indices and masks have none.
    """

    size: int
    source: Provenance
    floating: bool = True


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


PRODUCTS = {"mul": (1, 1), "div": (1, -1)}  # with the signs of the operands' degrees

POWERS = {"sqrt": 0.5, "rsqrt": -0.5, "reciprocal": -1.0}
POWERS |= {"var": 2.0, "var_mean": 2.0, "sign": 0.0, "sgn": 0.0}
POWERS |= dict.fromkeys(("native_batch_norm", "native_layer_norm", "native_group_norm"), 0.0)

# Besides views, what twice the parameter makes twice as large.
LINEAR = _names(
    "abs add amax amin cat clamp clamp_max clamp_min clone constant_pad_nd copy cumsum diag_embed "
    "fake_quantize_per_channel_affine_cachemask fake_quantize_per_tensor_affine_cachemask "
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams flip floor "
    "_fused_moving_avg_obs_fq_helper gather index index_put index_select linalg_vector_norm "
    "masked_fill max maximum mean min minimum native_dropout neg norm relu repeat roll round rsub "
    "scatter slice_scatter stack std sub sum _to_copy tril triu trunc _unsafe_index _unsafe_view "
    "where _weight_norm_interface"
)

# A look-up takes one element of a table. What is positive whatever the parameter is no weight of
# mean zero: rates of decay, temperatures, masks, and mixtures that sum up to one.
ENDS = _names(
    "embedding _embedding_bag _embedding_bag_forward_only "
    "exp exp2 log log2 log_sigmoid_forward _log_softmax logsumexp sigmoid _softmax softplus"
)

# Not every operand counts: what is overwritten does not, nor do weight_norm's lengths.
COUNTED = {"copy": slice(1, 2), "_weight_norm_interface": slice(0, 1)}


def derive(name: str, operands: Sequence[Operand], size: int, power: float | None) -> Provenance:
    """What comes out of an operation that contracts nothing.

    Args:
        name: the operation.
        operands: what goes in.
        size: the number of elements that come out.
        power: the operation's own degree; None if it is no power.
    """
    operands = operands[COUNTED.get(name, slice(None))]
    level = max(each.source.level for each in operands)
    sources = [each for each in operands if each.source.degrees]
    weights = [each for each in sources if each.source.is_weight] or sources
    others = [each for each in operands if each.floating and each not in weights]
    activations = [each.size for each in others if each.source.level is Level.INPUT]
    if not sources or name in ENDS or (activations and name not in PRODUCTS):
        return Provenance(level)
    # What is stretched over another operand is a gain on it, and so is what fits an activation.
    whole = [each for each in weights if each.size == size] or weights
    keys = {key for each in whole for key in each.source.degrees}
    signs = PRODUCTS.get(name)
    every = [each.source for each in operands]
    merged = _multiply(every, signs, keys) if signs else _unite(every, keys)
    factor = UNKNOWN if power is None else power
    largest, activation = max(each.size for each in weights), max(activations, default=0)
    is_gain = largest <= size == activation or any(largest < size == each.size for each in others)
    return Provenance(
        level,
        {key: degree * factor for key, degree in merged.degrees.items()},
        merged.constant**factor,
        faint=not weights[0].source.is_weight or (signs is not None and is_gain),
        spread=size / activation if activation else max(w.source.spread for w in weights),
    )


def _multiply(sources: Sequence[Provenance], signs: Sequence[int], keys: set[int]) -> Provenance:
    signed = list(zip(sources, signs, strict=True))
    degrees = {key: sum(sign * s.degrees.get(key, 0.0) for s, sign in signed) for key in keys}
    # A gain of its own may be as large as it likes; what has no degrees is a number.
    counted = [(s.constant, sign) for s, sign in signed if not s.degrees or keys & set(s.degrees)]
    return Provenance(degrees=degrees, constant=math.prod(_power(*each) for each in counted))


def _unite(sources: Sequence[Provenance], keys: set[int]) -> Provenance:
    sources = [each for each in sources if keys & set(each.degrees)]
    degrees = {key: _common(s.degrees[key] for s in sources if key in s.degrees) for key in keys}
    return Provenance(degrees=degrees, constant=_common(s.constant for s in sources))


def _power(number: float, exponent: float) -> float:
    return abs(number) ** exponent if number else UNKNOWN


def _common(numbers: Iterable[float]) -> float:
    first, *rest = numbers
    return first if all(math.isclose(first, each, rel_tol=1e-6) for each in rest) else UNKNOWN


def contraction_of(left: Provenance, right: Provenance, weight: Provenance | None) -> Provenance:
    """What comes out of a contraction: faintly, it is still what the weight was.

    Spectral norm's sigma has to be known for a function of its weight, and a mixture of kernels for
    one of them when a convolution takes it. A weight times itself, as where it is made orthogonal,
    is a weight; a product of two that are equals is neither.
    """
    level, shared = max(left.level, right.level), left.degrees.keys() & right.degrees.keys()
    equals = left.is_weight and right.is_weight
    if weight is None and (level is Level.INPUT or (equals and not shared)):
        return Provenance(level)
    keys = {*weight.degrees} if weight else {*left.degrees, *right.degrees}
    merged = _multiply((left, right), (1, 1), keys)
    return replace(merged, level=level, faint=not (equals and shared))


def union(before: Provenance, after: Provenance) -> Provenance:
    """What memory holds after a part of it was written: both, as in a concatenation."""
    return derive("cat", [Operand(1, before), Operand(1, after)], 2, 1.0)


def power_of(name: str, args: Sequence[Any], *, view: bool) -> float | None:
    """The degree of an operation; None if it is no power of what goes in."""
    if name == "pow":
        return float(args[1]) if isinstance(args[1], int | float) else None
    linear = view or name in LINEAR or name in PRODUCTS
    return 1.0 if linear else POWERS.get(name)
