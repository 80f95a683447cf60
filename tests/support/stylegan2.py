"""A small StyleGAN2 generator, from the paper: its modulated convolutions in both known forms.

Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", section 2.2: a style
multiplies the input channels of the kernel, and each output channel is then divided by its norm.
"""

import torch
from torch import nn
from torch.nn import functional as F


class ModulatedConv(nn.Module):
    """One kernel for all samples, modulated for each; the samples are groups of one convolution.

    With `grouped=False` the inputs are modulated, and the outputs demodulated, in its place.
    """

    def __init__(self, into, out, size, style, *, demodulate=True, up=False, grouped=True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, out, into, size, size))
        self.affine = nn.Linear(style, into)
        self.demodulate, self.up, self.grouped = demodulate, up, grouped

    def forward(self, x, w):
        style = self.affine(w)
        return self._grouped(x, style) if self.grouped else self._batched(x, style)

    def _grouped(self, x, style):
        n, into, *size = x.shape
        weight = self.weight * style.view(n, 1, into, 1, 1)
        if self.demodulate:
            weight = weight * (weight.square().sum([2, 3, 4], keepdim=True) + 1e-8).rsqrt()
        weight = weight.transpose(1, 2).flatten(0, 1) if self.up else weight.flatten(0, 1)
        out = self._convolve(x.reshape(1, n * into, *size), weight, n)
        return out.view(n, -1, *out.shape[2:])

    def _batched(self, x, style):
        weight = self.weight[0]
        out = self._convolve(
            x * style[:, :, None, None], weight.transpose(0, 1) if self.up else weight, 1
        )
        if self.demodulate:
            norm = torch.einsum("oikl,ni->no", weight.square(), style.square())
            out = out * (norm + 1e-8).rsqrt()[:, :, None, None]
        return out

    def _convolve(self, x, weight, groups):
        if self.up:
            return F.conv_transpose2d(x, weight, stride=2, padding=1, groups=groups)
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=groups)


class StyledConv(nn.Module):
    def __init__(self, into, out, style, **options):
        super().__init__()
        size = 4 if options.get("up") else 3
        self.conv = ModulatedConv(into, out, size, style, **options)
        self.noise = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(1, out, 1, 1))

    def forward(self, x, w):
        x = self.conv(x, w)
        noise = torch.randn(len(x), 1, *x.shape[2:])
        return F.leaky_relu(x + self.noise * noise + self.bias, 0.2)


class Generator(nn.Module):
    """Three resolutions, from a constant of 4 x 4."""

    def __init__(self, style=8, width=6, colors=3, *, grouped=True):
        super().__init__()
        options = {"grouped": grouped}
        self.mapping = nn.Sequential(
            nn.Linear(style, style), nn.LeakyReLU(0.2), nn.Linear(style, style)
        )
        self.constant = nn.Parameter(torch.randn(1, width, 4, 4))
        self.first = StyledConv(width, width, style, **options)
        self.blocks = nn.ModuleList()
        self.to_rgb = nn.ModuleList()
        for _ in range(2):
            up = StyledConv(width, width, style, up=True, **options)
            self.blocks.append(nn.ModuleList([up, StyledConv(width, width, style, **options)]))
            rgb = ModulatedConv(width, colors, 1, style, demodulate=False, **options)
            self.to_rgb.append(rgb)

    def forward(self, z):
        w = self.mapping(F.normalize(z) * z.shape[1] ** 0.5)
        x, image = self.first(self.constant.expand(len(z), -1, -1, -1), w), None
        for (up, conv), to_rgb in zip(self.blocks, self.to_rgb, strict=True):
            x = conv(up(x, w), w)
            colors = to_rgb(x, w)
            image = colors if image is None else colors + F.interpolate(image, scale_factor=2.0)
        return image
