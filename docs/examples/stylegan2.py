"""A StyleGAN2 generator in sixty lines, equalized by observing how its weights are used.

    python docs/examples/stylegan2.py [--size N]

Builds it of plain parameters, equalizes every weight that is contracted, its modulated convolutions
too, and prints what was found and what is left alone.
"""

from __future__ import annotations

import options as shared
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, leaky_relu, normalize

from equalized_lr import describe, equalize_lr, observe, translate_lr

WIDTH = 64


class ModulatedConv(nn.Module):
    """Karras et al. 2020, section 2.2: the style scales the kernel's inputs, then each is unit."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, demodulate: bool = True) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.style = nn.Linear(WIDTH, inputs)
        self.bias = nn.Parameter(torch.zeros(outputs, 1, 1))
        self.demodulate = demodulate

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        kernels = self.kernel * (self.style(w) + 1)[:, None, :, None, None]
        if self.demodulate:
            kernels = kernels * (kernels.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
        batch, outputs, inputs, size, _ = kernels.shape
        x = x.reshape(1, batch * inputs, *x.shape[2:])
        y = conv2d(x, kernels.flatten(0, 1), padding=size // 2, groups=batch)
        return y.view(batch, outputs, *y.shape[2:]) + self.bias


class Generator(nn.Module):
    """From latent vectors to images, by skip connections."""

    def __init__(self, size: int = 32) -> None:
        super().__init__()
        self.mapping = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.constant = nn.Parameter(torch.randn(1, WIDTH, 4, 4))
        levels = size.bit_length() - 2  # 4, 8, ..., size
        self.convs = nn.ModuleList(ModulatedConv(WIDTH, WIDTH, 3) for _ in range(2 * levels - 1))
        self.to_image = nn.ModuleList(
            ModulatedConv(WIDTH, 3, 1, demodulate=False) for _ in range(levels)
        )

    def forward(self, z: Tensor) -> Tensor:
        w = normalize(z, dim=1) * WIDTH**0.5
        for layer in self.mapping:
            w = leaky_relu(layer(w), 0.2)
        x, image = self.constant.expand(len(z), -1, -1, -1), torch.zeros(())
        for level, to_image in enumerate(self.to_image):
            for conv in self.convs[max(0, 2 * level - 1) : 2 * level + 1]:
                if level and conv is self.convs[2 * level - 1]:
                    x, image = (interpolate(each, scale_factor=2) for each in (x, image))
                x = leaky_relu(conv(x, w), 0.2)
            image = image + to_image(x, w)
        return image


def main(arguments: list[str] | None = None) -> Generator:
    parser = shared.parser(__doc__)
    parser.add_argument("--size", type=int, default=32, help="of the images, a power of two")
    options = parser.parse_args(arguments)
    shared.use(options)
    torch.manual_seed(0)
    generator = Generator(options.size)
    z = torch.randn(4, WIDTH)
    fans = observe(generator, z)
    for layer in generator.mapping:  # the mapping network learns a hundred times slower
        equalize_lr(layer, lr_mul=0.01)
    equalize_lr(generator, fans=fans, gain=1.0)
    print(describe(generator, fans=fans))
    print(f"a plain rate of 0.0001 becomes {translate_lr(generator, 1e-4):.2g}")
    image = generator(z)
    print(f"images {tuple(image.shape)}, standard deviation {image.std():.2f}")
    return generator


if __name__ == "__main__":
    main()
