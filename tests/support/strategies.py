"""Layers of every kind that `fans` knows, with inputs that fit, in all their odd settings."""

from dataclasses import dataclass
from functools import partial

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

sizes = st.integers(1, 5)
dtypes = st.sampled_from([torch.float32, torch.float64])
powers_of_two = st.integers(-12, 12).map(lambda k: 2.0**k)
gains = st.floats(0.05, 4.0)
lr_muls = st.sampled_from([1.0, 0.01, 0.25, 3.0])
seeds = st.integers(0, 2**31)


@dataclass
class Sample:
    """A plain layer and the arguments of one call."""

    kind: str
    layer: nn.Module
    inputs: tuple[Tensor, ...]

    def call(self, layer=None):
        """The first tensor that the layer (or another one in its place) returns."""
        out = (layer or self.layer)(*self.inputs)
        while not isinstance(out, Tensor):
            out = out[0]
        return out


@st.composite
def linear(draw):
    layer = nn.Linear(draw(sizes), draw(sizes), bias=draw(st.booleans()))
    return layer, [(draw(sizes), layer.in_features)]


@st.composite
def bilinear(draw):
    layer = nn.Bilinear(draw(sizes), draw(sizes), draw(sizes), bias=draw(st.booleans()))
    return layer, [(3, layer.in1_features), (3, layer.in2_features)]


@st.composite
def convolution(draw, rank, *, transposed):
    """Groups up to depthwise, strides, dilation, padding, kernels of one."""
    per_axis = lambda low, high: tuple(  # noqa: E731
        draw(st.integers(low, high)) for _ in range(rank)
    )
    groups, into, out = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    kernel, stride, dilation = per_axis(1, 3), per_axis(1, 3), per_axis(1, 2)
    more = {"stride": stride, "dilation": dilation, "bias": draw(st.booleans()), "groups": groups}
    name = f"Conv{'Transpose' if transposed else ''}{rank}d"
    layer = getattr(nn, name)(groups * into, groups * out, kernel, **more)
    length = [max(2, (k - 1) * d + 1) for k, d in zip(kernel, dilation, strict=True)]
    return layer, [(draw(st.integers(1, 2)), groups * into, *length)]


@st.composite
def recurrent(draw, kind):
    more = {"num_layers": draw(st.integers(1, 2)), "bidirectional": draw(st.booleans())}
    inputs, hidden = draw(sizes), draw(st.integers(2, 4))
    if kind == "LSTM":
        more["proj_size"] = draw(st.integers(0, hidden - 1))
    layer = getattr(nn, kind)(inputs, hidden, bias=draw(st.booleans()), **more)
    return layer, [(3, 2, inputs)]


@st.composite
def cell(draw, kind):
    layer = getattr(nn, kind)(draw(sizes), draw(sizes), bias=draw(st.booleans()))
    return layer, [(2, layer.input_size)]


@st.composite
def attention(draw, *, packed):
    heads, width = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    sizes_ = {} if packed else {"kdim": draw(sizes), "vdim": heads * width + 1}
    layer = nn.MultiheadAttention(heads * width, heads, bias=draw(st.booleans()), **sizes_)
    return layer, [(3, 2, layer.embed_dim), (4, 2, layer.kdim), (4, 2, layer.vdim)]


KINDS = {
    "Linear": linear(),
    "Bilinear": bilinear(),
    **{f"Conv{n}d": convolution(n, transposed=False) for n in (1, 2, 3)},
    **{f"ConvTranspose{n}d": convolution(n, transposed=True) for n in (1, 2, 3)},
    **{kind: recurrent(kind) for kind in ("RNN", "LSTM", "GRU")},
    **{kind: cell(kind) for kind in ("RNNCell", "LSTMCell", "GRUCell")},
    "MultiheadAttention": attention(packed=True),
    "MultiheadAttention (separate)": attention(packed=False),
}
CONVOLUTIONS = tuple(kind for kind in KINDS if kind.startswith("Conv"))


@st.composite
def samples(draw, kinds=tuple(KINDS), dtypes=dtypes):
    """A layer of any of these kinds, filled with normal values, and normal inputs."""
    kind, dtype = draw(st.sampled_from(kinds)), draw(dtypes)
    layer, shapes = draw(KINDS[kind])
    layer = layer.to(dtype)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return Sample(kind, layer, tuple(torch.randn(*shape, dtype=dtype) for shape in shapes))


float64_samples = partial(samples, dtypes=st.just(torch.float64))
