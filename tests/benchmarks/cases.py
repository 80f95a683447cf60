"""What is timed: small stacks, perceptrons, a GAN's step, a transformer, an LSTM."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional


def tiny():
    """Twenty layers of 16: the time is that of Python."""
    return nn.Sequential(*(part for _ in range(20) for part in (nn.Linear(16, 16), nn.ReLU())))


def perceptron(width, depth=3):
    return nn.Sequential(
        *(part for _ in range(depth) for part in (nn.Linear(width, width), nn.ReLU()))
    )


def encoder():
    layer = nn.TransformerEncoderLayer(128, 4, 256, 0.0)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def lstm():
    return nn.LSTM(128, 128, 2)


class Generator(nn.Module):
    """PGGAN's, for 32 x 32 images."""

    def __init__(self, channels=(128, 64, 32, 16)):
        super().__init__()
        self.first = nn.Linear(64, channels[0] * 16)
        self.ups = nn.ModuleList(nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in pairwise(channels))
        self.convs = nn.ModuleList(nn.Conv2d(c, c, 3, padding=1) for c in channels[1:])
        self.to_image = nn.Conv2d(channels[-1], 3, 1)

    def forward(self, z):
        x = functional.leaky_relu(self.first(z), 0.2).unflatten(1, (-1, 4, 4))
        for up, conv in zip(self.ups, self.convs, strict=True):
            x = functional.leaky_relu(conv(functional.leaky_relu(up(x), 0.2)), 0.2)
        return self.to_image(x)


class Critic(nn.Module):
    def __init__(self, channels=(16, 32, 64, 128)):
        super().__init__()
        self.from_image = nn.Conv2d(3, channels[0], 1)
        self.convs = nn.ModuleList(nn.Conv2d(c, c, 3, padding=1) for c in channels[:-1])
        self.downs = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairwise(channels))
        self.score = nn.Linear(channels[-1] * 16, 1)

    def forward(self, x):
        x = self.from_image(x)
        for conv, down in zip(self.convs, self.downs, strict=True):
            x = functional.leaky_relu(down(functional.leaky_relu(conv(x), 0.2)), 0.2)
        return self.score(x.flatten(1))


class Gan(nn.Module):
    """A generator and a critic, to be wrapped in one call."""

    def __init__(self):
        super().__init__()
        self.generator, self.critic = Generator(), Critic()


def gan_step(gan, optimizer, batch=16):
    """A step of both networks with WGAN-GP's penalty."""
    z, real = torch.randn(batch, 64), torch.randn(batch, 3, 32, 32)

    def step():
        fake = gan.generator(z)
        between = real.lerp(fake.detach(), 0.5).requires_grad_()
        (slope,) = torch.autograd.grad(gan.critic(between).sum(), between, create_graph=True)
        penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        loss = gan.critic(fake.detach()).mean() - gan.critic(real).mean() + penalty
        optimizer.zero_grad()
        (loss - 0.1 * gan.critic(fake).mean()).backward()
        optimizer.step()

    return step


def forward(model, *inputs):
    """A forward without gradients."""

    def run():
        with torch.no_grad():
            model(*inputs)

    return run


def forward_and_backward(model, *inputs):
    def run():
        output = model(*inputs)
        (output if isinstance(output, torch.Tensor) else output[0]).sum().backward()

    return run


def training_step(model, optimizer, *inputs):
    def run():
        optimizer.zero_grad()
        output = model(*inputs)
        (output if isinstance(output, torch.Tensor) else output[0]).square().mean().backward()
        optimizer.step()

    return run


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=1e-5)
