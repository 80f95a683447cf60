"""How many connections each weight of a layer makes: the numbers under He's rule.

He et al. 2015, "Delving Deep into Rectifiers", section 2.2: the variance of one response is the
number of connections into it (the paper's n_l) times the variance of a weight; going backward, the
number out of one input (its n-hat_l) takes that place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import singledispatch
from typing import NamedTuple

from torch import nn


class Fan(NamedTuple):
    """The connections that one weight makes.

    Attributes:
        fan_in: the connections into one response.
        fan_out: the connections out of one input.
        bias: the name of the bias that belongs to the weight, where it is not the weight's own
            name with "bias" in the place of "weight".
    """

    fan_in: float
    fan_out: float
    bias: str | None = None


@singledispatch
def fans(layer: nn.Module) -> dict[str, Fan]:
    """Says for each weight of one layer how many connections it makes.

    Known are Linear, Bilinear, Conv1-3d, ConvTranspose1-3d, RNN, LSTM, GRU, their cells and
    MultiheadAttention, and all their subclasses. Other layers have none: `{}`. Normalization layers
    have no connections, and a look-up in an embedding makes one, which is N(0, 1) already.

    Where responses differ (strided kernels), the number is the average over them: a transposed
    convolution with stride s reaches each response through `in / groups * prod(kernel) / prod(s)`
    connections, and a strided convolution uses each input that much less often.

    Register a layer type of your own as for any `functools.singledispatch`:

    >>> class Affine(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.weight = torch.nn.Parameter(torch.empty(3, 7))
    >>> @fans.register
    ... def _(layer: Affine):
    ...     return {"weight": Fan(fan_in=7, fan_out=3)}
    >>> fans(Affine())
    {'weight': Fan(fan_in=7, fan_out=3, bias=None)}

    Args:
        layer: one module; its children are not looked at.

    Returns:
        The layer's own parameter names, each with its fan_in and fan_out.

    Example:
        >>> fans(torch.nn.Conv2d(16, 32, kernel_size=3, groups=4))
        {'weight': Fan(fan_in=36.0, fan_out=72.0, bias=None)}
    """
    return {}


@fans.register
def _(layer: nn.Linear) -> dict[str, Fan]:
    return {"weight": Fan(layer.in_features, layer.out_features)}


@fans.register
def _(layer: nn.Bilinear) -> dict[str, Fan]:
    # A response sums over all pairs of inputs; fan_out is that of one element of the first input.
    pairs = layer.in1_features * layer.in2_features
    return {"weight": Fan(pairs, layer.in2_features * layer.out_features)}


@fans.register(nn.Conv1d)
@fans.register(nn.Conv2d)
@fans.register(nn.Conv3d)
def _(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> dict[str, Fan]:
    taps, stride = math.prod(layer.kernel_size), math.prod(layer.stride)
    into, out = layer.in_channels / layer.groups, layer.out_channels / layer.groups
    return {"weight": Fan(into * taps, out * taps / stride)}


@fans.register(nn.ConvTranspose1d)
@fans.register(nn.ConvTranspose2d)
@fans.register(nn.ConvTranspose3d)
def _(layer: nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d) -> dict[str, Fan]:
    taps, stride = math.prod(layer.kernel_size), math.prod(layer.stride)
    into, out = layer.in_channels / layer.groups, layer.out_channels / layer.groups
    return {"weight": Fan(into * taps / stride, out * taps)}


@fans.register
def _(layer: nn.RNNBase) -> dict[str, Fan]:
    return dict(_recurrent(layer))


def _recurrent(layer: nn.RNNBase) -> Iterator[tuple[str, Fan]]:
    hidden = layer.hidden_size
    rows = {"LSTM": 4, "GRU": 3}.get(layer.mode, 1) * hidden
    fed_back = layer.proj_size or hidden
    directions = ("", "_reverse") if layer.bidirectional else ("",)
    for depth in range(layer.num_layers):
        inputs = layer.input_size if depth == 0 else fed_back * len(directions)
        for direction in directions:
            end = f"_l{depth}{direction}"
            yield f"weight_ih{end}", Fan(inputs, rows)
            yield f"weight_hh{end}", Fan(fed_back, rows)
            if layer.proj_size:
                yield f"weight_hr{end}", Fan(hidden, layer.proj_size)


@fans.register(nn.RNNCell)
@fans.register(nn.LSTMCell)
@fans.register(nn.GRUCell)
def _(layer: nn.RNNCell | nn.LSTMCell | nn.GRUCell) -> dict[str, Fan]:
    gates = 4 if isinstance(layer, nn.LSTMCell) else 3 if isinstance(layer, nn.GRUCell) else 1
    rows = gates * layer.hidden_size
    return {"weight_ih": Fan(layer.input_size, rows), "weight_hh": Fan(layer.hidden_size, rows)}


@fans.register
def _(layer: nn.MultiheadAttention) -> dict[str, Fan]:
    # Query, key and value are three projections, also where their weights are packed in one.
    # The fourth, out_proj, is a Linear of its own.
    width, bias = layer.embed_dim, "in_proj_bias"
    if layer.kdim == width and layer.vdim == width:
        return {"in_proj_weight": Fan(width, width, bias)}
    inputs = {"q": width, "k": layer.kdim, "v": layer.vdim}
    return {f"{key}_proj_weight": Fan(size, width, bias) for key, size in inputs.items()}
