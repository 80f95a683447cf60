"""`clip_grad_norm_`: one norm for one training, in whichever form."""

import math

import pytest
import torch
from torch import optim
from torch.nn.utils import clip_grad_norm_ as torch_clip

from equalized_lr import equalize_lr, remove_equalized_lr
from equalized_lr.optim import LREQAdam, ScaledSteps, clip_grad_norm_, implicit
from tests.support.trajectories import distance, explicit_of, fixed, loss_of


def clipped(net, optimizer, clip, steps=20):
    """Training with gradients clipped; the norms."""
    norms = []
    for step in range(steps):
        optimizer.zero_grad()
        loss_of(net, step).backward()
        norms.append(float(clip(optimizer)))
        optimizer.step()
    return norms


def mixed(net, scales):
    """One layer equalized, the others plain."""
    c = scales["3.weight"]
    equalize_lr(net[3], "weight", fan=1, gain=c, init="keep")
    return implicit(optim.SGD, net, scales=scales, lr=0.1)


def handed_over(net, scales):
    explicit = explicit_of(net, scales)
    optimizer = optim.SGD(explicit.parameters(), lr=0.1)
    remove_equalized_lr(explicit, optimizer=optimizer)
    net.load_state_dict(explicit.state_dict())
    optimizer.param_groups[:] = [
        {
            **g,
            "params": [
                dict(zip(explicit.parameters(), net.parameters(), strict=True))[p]
                for p in g["params"]
            ],
        }
        for g in optimizer.param_groups
    ]
    return optimizer


def scaled(net, scales):
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    ScaledSteps(optimizer, net, scales)
    return optimizer


FORMS = {
    "implicit": lambda net, scales: implicit(optim.SGD, net, scales=scales, lr=0.1),
    "mixed": mixed,
    "handed over": handed_over,
    "ScaledSteps": scaled,
}


@pytest.mark.parametrize("norm_type", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_explicit_norm(form, norm_type):
    """The norms and the trajectory are those of torch's clipping in the explicit form."""
    net, scales = fixed()
    explicit = explicit_of(net, scales)
    optimizer = optim.SGD(explicit.parameters(), lr=0.1)
    expected = clipped(
        explicit, optimizer, lambda o: torch_clip(explicit.parameters(), 0.5, norm_type)
    )
    norms = clipped(net, form(net, scales), lambda o: clip_grad_norm_(o, 0.5, norm_type))
    assert max(expected) > 0.5
    assert norms == pytest.approx(expected, rel=1e-12)
    assert distance(net, explicit) < 1e-13


def test_torchs_own_norm_is_another():
    """Negative control: clipping that takes every c for 1 goes elsewhere."""
    net, scales = fixed()
    explicit = explicit_of(net, scales)
    optimizer = optim.SGD(explicit.parameters(), lr=0.1)
    clipped(explicit, optimizer, lambda o: clip_grad_norm_(o, 0.5))
    optimizer = implicit(optim.SGD, net, scales=scales, lr=0.1)
    clipped(net, optimizer, lambda o: torch_clip(net.parameters(), 0.5))
    assert distance(net, explicit) > 1e-3


def test_plain_optimizers_and_no_gradients():
    """Without constants it is torch's; without gradients the norm is zero."""
    net, _ = fixed()
    optimizer = optim.SGD(net.parameters())
    assert clip_grad_norm_(optimizer, 1.0) == 0
    loss_of(net, 0).backward()
    expected = torch_clip(net.parameters(), 1e9)
    torch.testing.assert_close(clip_grad_norm_(optimizer, 1e9), expected)


def test_gradients_that_are_not_finite():
    """They raise where they should, and are left as they are."""
    net, scales = fixed()
    optimizer = implicit(LREQAdam, net, scales=scales)
    loss_of(net, 0).backward()
    net[0].weight.grad.fill_(math.inf)
    with pytest.raises(RuntimeError, match="non-finite"):
        clip_grad_norm_(optimizer, 1.0, error_if_nonfinite=True)
    assert net[0].weight.grad.isinf().all()
    assert clip_grad_norm_(optimizer, 1.0).isinf()
