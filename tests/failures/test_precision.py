"""Mixed precision and activation checkpointing."""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from tests.support.mechanisms import common_hook, first, net, x


class Checkpointed(nn.Module):
    """Recomputes a stretch of its own forward in backward."""

    def __init__(self, *, reentrant):
        super().__init__()
        self.layer, self.weight = nn.Linear(6, 6), nn.Parameter(torch.randn(6, 6))
        self.reentrant = reentrant

    def forward(self, inputs):
        def stretch(h):
            return torch.tanh(self.layer(h)) @ self.layer.weight @ self.weight

        return checkpoint(stretch, inputs, use_reentrant=self.reentrant)


class Inside(nn.Linear):
    """A layer that reads its weight before and inside a stretch that is recomputed."""

    reentrant = False

    def forward(self, inputs):
        hidden = inputs @ self.weight.T

        def stretch(h):
            return torch.tanh(h @ self.weight) @ self.weight.T

        return checkpoint(stretch, hidden, use_reentrant=self.reentrant)


@common_hook("holds")
def test_autocast(mechanism):
    """Under autocast the model computes in bfloat16 from stored float32, and its gradients come.

    The tolerance is that of bfloat16, 8 bits; a lost factor c would be 40 % off at least.
    """
    model, plain = mechanism.twins(net())
    model.float(), plain.float()
    outputs = []
    for twin in (model, plain):
        with torch.autocast("cpu", torch.bfloat16):
            outputs.append(first(twin(x().float())))
        outputs[-1].float().square().sum().backward()
    assert outputs[0].dtype == torch.bfloat16
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0.05, atol=0.05)
    scales = mechanism.scales(model)
    expected = scales["0.weight"] * plain[0].weight.grad
    actual = dict(model.named_parameters())["0.weight_orig"].grad
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, expected, rtol=0.1, atol=0.1 * expected.abs().max().item())


@common_hook("holds")
def test_checkpoint_around_a_layer(mechanism):
    """A layer called inside a checkpointed stretch, by both implementations."""
    for reentrant in (False, True):
        model, plain = mechanism.twins(net())
        for twin in (model, plain):
            inputs = x().requires_grad_()
            checkpoint(twin, inputs, use_reentrant=reentrant).square().sum().backward()
        mechanism.assert_gradients(model, plain)


@common_hook("holds")
def test_checkpoint_in_the_parents_forward(mechanism):
    """A parent that checkpoints and reads the weight of a child it has called."""
    for reentrant in (False, True):
        model, plain = mechanism.twins(Checkpointed(reentrant=reentrant))
        mechanism.assert_alike(model, plain, x().requires_grad_())


@common_hook("holds")
def test_checkpoint_without_reentry_in_the_layers_own_forward(mechanism):
    """A weight read before and inside the stretch."""
    model, plain = mechanism.twins(Inside(6, 6))
    for _ in range(2):
        mechanism.assert_alike(model, plain, x())


@common_hook("error")
def test_checkpoint_with_reentry_in_the_layers_own_forward(mechanism):
    """The same with the older implementation, which computes without gradients first."""
    model, plain = mechanism.twins(Inside(6, 6))
    model.reentrant = plain.reentrant = True
    for _ in range(2):
        mechanism.assert_alike(model, plain, x().requires_grad_())


def test_a_selective_checkpoint():
    """Selective checkpointing may save the multiplication by c; a held weight is not its own."""
    from functools import partial

    from torch.utils.checkpoint import create_selective_checkpoint_contexts

    from tests.support.mechanisms import EQUALIZED

    saved = [torch.ops.aten.mul.Tensor, torch.ops.aten.mul.Scalar, torch.ops.aten.mm.default]

    class Selective(Inside):
        def forward(self, inputs):
            hidden = inputs @ self.weight.T
            return checkpoint(
                lambda h: torch.tanh(h @ self.weight) @ self.weight.T,
                hidden,
                use_reentrant=False,
                context_fn=partial(create_selective_checkpoint_contexts, saved),
            )

    model, plain = EQUALIZED.twins(Selective(6, 6))
    for _ in range(2):
        EQUALIZED.assert_alike(model, plain, x())
