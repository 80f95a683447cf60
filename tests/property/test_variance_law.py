"""Law 3: with `init="normal"` every layer keeps the variance of what comes in.

- with gain 1 the responses have the second moment of the inputs;
- with the default gain, sqrt(2), a ReLU after the layer has;
- with mode="fan_out" the gradients have it, on their way back.

Each holds in the mean over draws of the weights. A mean over n independent squares of normal values
is off by sqrt(2 / n) in the standard deviation; the tests allow six of those, for n the number of
weights drawn in all (inputs are more, so their part is smaller; it doubles the allowance).
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import relu

from equalized_lr import equalize_lr, fans

DRAWS = 12


@st.composite
def wide_convolutions(draw):
    """Convolutions of all kinds with enough weights."""
    rank, transposed = draw(st.integers(1, 3)), draw(st.booleans())
    groups, axis = draw(st.sampled_from([1, 2, 4])), st.integers(1, 3)
    kernel, stride = [draw(axis) for _ in range(rank)], [draw(axis) for _ in range(rank)]
    stride = [min(s, k) for s, k in zip(stride, kernel, strict=True)]
    kind = getattr(nn, f"Conv{'Transpose' if transposed else ''}{rank}d")
    into, out = draw(st.sampled_from([(8, 32), (32, 8), (16, 16)]))
    return kind(into, out, kernel, stride, groups=groups, dilation=draw(st.integers(1, 2)))


@st.composite
def wide_matrices(draw):
    into, out = draw(st.sampled_from([(16, 256), (256, 16), (1, 512), (64, 64)]))
    return nn.Linear(into, out)


wide = st.one_of(wide_convolutions(), wide_matrices())


def inputs(layer):
    """Normal values, many more than weights, with room inside."""
    if isinstance(layer, nn.Linear):
        return torch.randn(256, layer.in_features)
    room = {1: [900], 2: [36, 36], 3: [20, 20, 20]}[len(layer.kernel_size)]
    return torch.randn(2, layer.in_channels, *room)


def moment(values, layer, side):
    """The mean square on one side of the layer, without the borders, which have less connections.

    Borders are on the fine side only (the input of a convolution, the output of a transposed one),
    and what is left between them is a whole number of strides wide.
    """
    fine = "output" if "Transpose" in type(layer).__name__ else "input"
    if side == fine and not isinstance(layer, nn.Linear):
        for axis, (kernel, stride, dilation) in enumerate(
            zip(layer.kernel_size, layer.stride, layer.dilation, strict=True), start=2
        ):
            border = -(-kernel * dilation // stride) * stride
            inside = (values.shape[axis] - 2 * border) // stride * stride
            values = values.narrow(axis, border, inside)
    return values.square().mean().item()


def allowed(layer):
    return 2 * 6 * math.sqrt(2 / (DRAWS * layer.weight.numel()))


def ratio(layer, after=lambda y: y):
    """Mean square of what comes out over that of what went in, in the mean over draws."""
    x, total = inputs(layer), 0.0
    for _ in range(DRAWS):
        layer.weight_orig.data.normal_()
        total += moment(after(layer(x)), layer, "output")
    return total / DRAWS / x.square().mean().item()


@settings(max_examples=30)
@given(wide)
def test_gain_one_keeps_the_variance(layer):
    """Strided, dilated, grouped or transposed: responses are as large as inputs."""
    equalize_lr(layer, gain=1.0)
    assert ratio(layer) == pytest.approx(1, abs=allowed(layer))


@settings(max_examples=30)
@given(wide)
def test_the_default_gain_makes_up_for_relu(layer):
    """A ReLU takes half of the second moment away, and gain sqrt(2) brings it back."""
    equalize_lr(layer)
    assert ratio(layer, after=relu) == pytest.approx(1, abs=2 * allowed(layer))


@settings(max_examples=30)
@given(wide)
def test_fan_out_keeps_the_gradients(layer):
    """With mode="fan_out" and gain 1, gradients come out as large as they went in."""
    equalize_lr(layer, gain=1.0, mode="fan_out")
    x, total = inputs(layer).requires_grad_(), 0.0
    for _ in range(DRAWS):
        layer.weight_orig.data.normal_()
        y = layer(x)
        (gradient,) = torch.autograd.grad(y, x, torch.randn_like(y))
        total += moment(gradient, layer, "input")
    assert total / DRAWS == pytest.approx(1, abs=allowed(layer))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_each_matrix_of_recurrent_layers_and_attention(bidirectional):
    """Every matrix of RNNs, LSTMs with projections, GRUs, cells and attention, by itself."""
    layers = [
        nn.LSTM(32, 64, 2, bidirectional=bidirectional, proj_size=16),
        nn.GRU(32, 64, bidirectional=bidirectional),
        nn.RNN(32, 64, bidirectional=bidirectional),
        nn.LSTMCell(64, 128),
        nn.MultiheadAttention(64, 2),
        nn.MultiheadAttention(64, 2, kdim=32, vdim=48),
    ]
    for layer in layers:
        equalize_lr(layer, gain=1.0)
        for name in fans(layer):
            weight = getattr(layer, name)
            x = torch.randn(4096, weight.shape[1])
            second = (x @ weight.T).square().mean().item()
            assert second == pytest.approx(1, abs=2 * 6 * math.sqrt(2 / weight.numel()))


def test_the_law_would_see_the_usual_fan_of_transposed_convolutions():
    """Negative control: out * k**2, the fan that torch and most code bases take, breaks it."""
    layer = nn.ConvTranspose2d(32, 8, 3)
    equalize_lr(layer, "weight", gain=1.0, fan=8 * 9)
    assert ratio(layer) > 1 + 2 * allowed(layer)
