"""Layers of other code bases, from their published formulas, in plain functions of torch.

They take stored numbers and compute what the source computes, in its own way, so that converted
numbers in plain layers can be compared with them. Nothing in src imports this.
"""

import torch
from torch.nn import functional as F


def tf_conv(x, w, gain):
    """TensorFlow's conv2d, SAME, of a kernel (h, w, in, out) times gain / sqrt(h * w * in)."""
    height, width, inputs, _ = w.shape
    scaled = w * (gain / (height * width * inputs) ** 0.5)
    out = 0
    padded = F.pad(x, [width // 2] * 2 + [height // 2] * 2)
    for i in range(height):
        for j in range(width):
            patch = padded[:, :, i : i + x.shape[2], j : j + x.shape[3]]
            out = out + torch.einsum("nihw,io->nohw", patch, scaled[i, j])
    return out


def tf_scatter(x, w):
    """TensorFlow's conv2d_transpose, stride 2, SAME, of a kernel (4, 4, out, in), by hand."""
    n, _, height, width = x.shape
    out = torch.zeros(n, w.shape[2], 2 * height + 2, 2 * width + 2, dtype=x.dtype)
    for i in range(height):
        for j in range(width):
            patch = torch.einsum("ni,hwoi->nohw", x[:, :, i, j], w)
            out[:, :, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += patch
    return out[:, :, 1:-1, 1:-1]


def spread(w):
    """A 3 x 3 kernel in the first two axes, added up over the four pixels of each input."""
    w = F.pad(w, [0, 0, 0, 0, 1, 1, 1, 1])
    return w[1:, 1:] + w[:-1, 1:] + w[1:, :-1] + w[:-1, :-1]


def pggan_up(x, w):
    """PGGAN's fused up-convolution: (3, 3, out, in), and a fan that is handed over."""
    return tf_scatter(x, spread(w * (2 / (9 * w.shape[3])) ** 0.5))


def stylegan_up(x, w):
    """StyleGAN's fused up-convolution: the same from (3, 3, in, out)."""
    return tf_scatter(x, spread((w * (2 / (9 * w.shape[2])) ** 0.5).transpose(2, 3)))


def dense(x, w, b, c, c_bias=1.0):
    """A dense layer (out, in) with a constant for the weight and one for the bias."""
    return x @ (w * c).T + b * c_bias


def output_scaled(x, w, b, c):
    """The GAN zoo's layer: everything that comes out is multiplied, bias and all."""
    return F.linear(x, w, b) * c
