"""The operations that contract a weight with something else, and the fans that they show."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from equalized_lr.plan.fan import Fan


class Side(NamedTuple):
    """One operand of a contraction, and its fan if it is the weight."""

    tensor: Tensor
    fan: Fan


class Contraction(NamedTuple):
    """Sums of products.

    Attributes:
        sides: the operands.
        weight: the number of the side that the operation itself calls the weight, if it does.
        bias: whether something is added.
    """

    sides: tuple[Side, Side]
    weight: int | None = None
    bias: bool = False


Read = Callable[[Sequence[Any]], Contraction]


def _matrices(left: Tensor, right: Tensor, *, columns: int = -1, bias: bool = False) -> Contraction:
    """(..., m, k) times (..., k, n); vectors are matrices of one row or column."""
    length, rows = left.shape[-1], left.shape[-2] if left.dim() > 1 else 1
    into_columns = Fan(length, right.shape[columns] if right.dim() > 1 else 1)
    return Contraction((Side(left, Fan(length, rows)), Side(right, into_columns)), bias=bias)


def _product(args: Sequence[Any]) -> Contraction:
    return _matrices(args[0], args[1])


def _product_and_bias(args: Sequence[Any]) -> Contraction:
    return _matrices(args[1], args[2], bias=True)


def _transposed(args: Sequence[Any]) -> Contraction:
    return _matrices(args[0], args[1], columns=-2, bias=True)


def _convolution(args: Sequence[Any]) -> Contraction:
    """The formulas of `fans`; which of the channels are the groups' own is a matter of layout."""
    inputs, weight, bias, stride = args[:4]
    transposed, groups = args[6], args[8]
    first, second, *kernel = weight.shape
    taps, strides = math.prod(kernel), math.prod(list(stride) * (len(kernel) // len(stride)))
    into, out = (first / groups, second) if transposed else (second, first / groups)
    into, out = (into / strides, out) if transposed else (into, out / strides)
    fan = Fan(into * taps, out * taps)
    return Contraction((Side(inputs, fan), Side(weight, fan)), weight=1, bias=bias is not None)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _each(names: str, read: Read) -> dict[str, Read]:
    return dict.fromkeys(names.split(), read)


CONTRACTIONS: dict[str, Read] = {
    # transformers brings a grouped_mm of its own where torch has none
    **_each("mm bmm mv dot vdot _grouped_mm transformers::grouped_mm_fallback", _product),
    **_each("addmm baddbmm addbmm addmv", _product_and_bias),
    **_each("linear", _transposed),
    **_each(
        "_scaled_dot_product_attention_math _scaled_dot_product_flash_attention "
        "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_efficient_attention "
        "_scaled_dot_product_cudnn_attention _scaled_dot_product_fused_attention_overrideable",
        _transposed,
    ),
    **_each("convolution", _convolution),
}

# Operations that do not show what they contract; the table of layers knows the weights of torch's.
FUSED = _names(
    "lstm gru rnn_tanh rnn_relu mkldnn_rnn_layer _cudnn_rnn miopen_rnn lstm_mps _trilinear "
    "_transformer_encoder_layer_fwd _native_multi_head_attention"
)


# A sum along axes: a contraction by hand, if products of a weight and an activation are summed.
SUMS = frozenset(("sum", "mean"))
