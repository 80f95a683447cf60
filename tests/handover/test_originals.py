"""Gradients after a step: what the step made of them, in the units of effective weights."""

import torch
from torch import nn, optim

from equalized_lr.handover.scaled_steps import StoredSteps
from tests.support.assertions import assert_equal

C = 0.25


def weight():
    return nn.Parameter(torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64))


def test_gradients_are_what_the_step_made_them():
    """Cleared, changed in place (through .data, too), and replaced ones stay so."""

    class Changing(optim.SGD):
        change = staticmethod(lambda p: None)

        def step(self, closure=None):
            self.change(self.param_groups[0]["params"][0])

    p = weight()
    optimizer = Changing([p], lr=1.0)
    StoredSteps(optimizer, {p: C})
    changes = {
        "cleared": (lambda p: setattr(p, "grad", None), None),
        "in place": (lambda p: p.grad.add_(1.0), 1.0 + 1.0 / C),
        "through data": (lambda p: p.grad.data.add_(1.0), 1.0 + 1.0 / C),
        "replaced": (lambda p: setattr(p, "grad", torch.ones_like(p)), 1.0 / C),
    }
    for change, expected in changes.values():
        Changing.change = staticmethod(change)
        p.grad = gradient = torch.ones_like(p)
        optimizer.step()
        if expected is None:
            assert p.grad is None
        else:
            assert_equal(p.grad, torch.full_like(p, expected))
        if change in (changes["in place"][0], changes["through data"][0]):
            assert p.grad is gradient


def test_gradients_without_memory_of_their_own():
    """Expanded and sparse gradients serve as they are."""
    p = weight()
    optimizer = optim.SGD([p], lr=1.0)
    StoredSteps(optimizer, {p: C})
    before, p.grad = p.detach().clone(), torch.ones(1, dtype=p.dtype).expand(3)
    optimizer.step()
    assert_equal(p.detach(), before - C**2)
    p.grad = torch.tensor([0.0, 1.0, 0.0], dtype=p.dtype).to_sparse()
    gradient = p.grad
    optimizer.step()
    assert p.grad is gradient
    assert_equal(p.detach(), before - C**2 * torch.tensor([1.0, 2.0, 1.0], dtype=p.dtype))
