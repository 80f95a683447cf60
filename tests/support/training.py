"""What the distributed tests train, and what one process alone makes of it."""

import re

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from equalized_lr import equalize_lr

STEPS, BATCH = 3, 4


class Net(nn.Module):
    """Linear blocks and attention, whose out_proj is read by its parent."""

    def __init__(self, *, unused=False):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(2))
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 4)
        self.unused = nn.Linear(3, 3) if unused else None

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(self.attend(x, x, x)[0])


def build(**options):
    """The same equalized network in every process."""
    torch.manual_seed(1)
    return equalize_lr(Net(**options))


def batches(rank=None):
    """The batches of a rank, or of all of them together, for each step."""
    everything = torch.randn(STEPS, 2 * BATCH, 5, 8, generator=torch.Generator().manual_seed(2))
    return everything if rank is None else everything.chunk(2, dim=1)[rank]


def loss_of(output):
    return output.float().square().mean()


def make_optimizer(model):
    return torch.optim.Adam(model.parameters(), lr=0.01, eps=1e-3)


def train(model, inputs, called=None):
    """Steps of Adam; `called` is what is called in the model's place, such as its DDP."""
    called, optimizer = model if called is None else called, make_optimizer(model)
    for x in inputs:
        optimizer.zero_grad()
        loss_of(called(x)).backward()
        optimizer.step()
    return model


def alone(**options):
    """The parameters after training in one process on all data, by name."""
    return values(train(build(**options), batches()))


def values(model):
    """All parameters as whole tensors, by their names without wrappers' prefixes."""
    return {
        re.sub(r"(_checkpoint_wrapped_module|_orig_mod|module)\.", "", name): whole(parameter)
        for name, parameter in model.named_parameters()
    }


def whole(tensor):
    """A tensor as one process would have it."""
    full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return full.detach().clone()


def assert_as_alone(model, tolerance=1e-5, **options):
    """Equal parameters: Adam's eps of 1e-3 keeps rounding of averaged gradients from growing."""
    actual, expected = values(model), alone(**options)
    assert sorted(actual) == sorted(expected)
    for name, value in actual.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=tolerance, msg=name)
