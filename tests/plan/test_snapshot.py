"""A forward leaves no trace, whatever it does, and also where it fails."""

import random
from collections import UserDict

import pytest
import torch
from torch import nn

from equalized_lr import observe
from equalized_lr.plan.snapshot import contents, memory_of, restoration
from tests.support.functional import Functional, parameter

X = torch.ones(4, 8)


def write(m, x):
    with torch.no_grad():
        m.weight.mul_(2)
        m.weight.data.add_(1)
        m.buffer.fill_(3)
        m.plain.zero_()
        m.parts[0].zero_()
    x.add_(1)


def connect(m, x):
    m.buffer.copy_((x @ m.weight).mean(0))


def replace(m, x):
    m.weight.data = m.weight.data * 2
    m.buffer = m.buffer + 1
    m.register_buffer("another", x)
    m.weight = nn.Parameter(torch.zeros(8, 8))
    del m.plain


def remember(m, x):
    m.calls += 1
    m.parts.append(x)
    m.names["x"] = x
    m.training = not m.training


def hook(m, x):
    m.register_forward_hook(lambda *_: None)
    m.register_forward_pre_hook(lambda *_: None)


def freeze(m, x):
    m.weight.requires_grad_(False)


def differentiate(m, x):
    (x @ m.weight).sum().backward()
    (x @ m.weight).sum().backward()


def clear(m, x):
    m.weight.grad = None


def draw(m, x):
    torch.rand(3)
    random.random()
    torch.rand(3, generator=m.generator)


CHANGES = [write, connect, replace, remember, hook, freeze, differentiate, clear, draw]


def eventful(change, *, fails=False):
    """A module that changes something of itself in each forward."""

    def compute(m, x):
        y = m.norm(x) @ m.weight + m.buffer
        change(m, x)
        if fails:
            raise ZeroDivisionError("the module's own")
        return y

    members = {"weight": parameter(8, 8), "buffer": torch.ones(8), "norm": nn.BatchNorm1d(8)}
    module = Functional(compute, **members)
    module.weight.grad = torch.ones(8, 8)
    module.__dict__["plain"] = torch.ones(3)
    module.calls, module.parts, module.names = 0, [torch.ones(2)], {"a": 1}
    module.generator = torch.Generator().manual_seed(1)
    return module


def state(module):
    """Everything of a module that a forward could change, by identity and by value."""
    weight, grad = module.weight, module.weight.grad
    tensors = [weight, grad, *module.buffers(), module.plain, *module.parts]
    return (
        [(id(each), memory_of(each), each._version) for each in tensors],
        [(each.is_leaf, each.requires_grad, each.tolist()) for each in tensors],
        (module.training, module.calls, dict(module.names), list(vars(module))),
        (list(module._forward_hooks), list(module._forward_pre_hooks), list(module._buffers)),
        module.generator.get_state().tolist(),
        torch.get_rng_state().tolist(),
        random.getstate(),
    )


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_no_trace(change, fails):
    """Values, versions, memory, gradients, attributes, hooks, generators: all as before."""
    module, x = eventful(change, fails=fails), X.clone()
    before = state(module)
    if fails:
        with pytest.raises(ZeroDivisionError, match="the module's own"):
            observe(module, x)
    else:
        assert observe(module, x)["weight"][:2] == (8, 8)
    assert state(module) == before
    assert torch.equal(x, X)


@pytest.mark.parametrize("change", CHANGES)
def test_a_forward_does_leave_traces(change):
    """Negative control: without the snapshot each of the changes shows."""
    module, x = eventful(change), X.clone()
    before = state(module)
    module.norm.eval()
    module(x)
    module.norm.train()
    try:
        after = state(module)
    except AttributeError:  # an attribute is gone
        return
    assert after != before


def test_only_what_is_written_is_copied():
    """A forward that writes nothing costs no copy of the weights."""
    module = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))
    with restoration(module, (X,)) as snapshot:
        snapshot.before_writing([torch.ones(3)])
        assert not snapshot._copies
        snapshot.before_writing([module[0].weight[1]])
        assert [storage.nbytes() for storage, _ in snapshot._copies.values()] == [8 * 8 * 4]


def test_a_pending_backward_still_works():
    """A graph that was built before goes through, since no version has changed."""

    def normalize(m, x):
        with torch.no_grad():
            m.weight.div_(m.weight.norm())
        return x @ m.weight

    module = Functional(normalize, weight=parameter(8, 8))
    loss = (X @ module.weight).square().sum()
    observe(module, X)
    loss.backward()
    assert module.weight.grad.shape == (8, 8)


def test_autocast_forgets_what_was_written():
    """A weight that was cast after a write is cast again after it is restored."""

    def double(m, x):
        with torch.no_grad():
            m.weight.mul_(2)
        return x @ m.weight

    module = Functional(double, weight=nn.Parameter(torch.ones(8, 8)))
    with torch.autocast("cpu"):
        observe(module, X)
        assert torch.equal(X @ module.weight, torch.full((4, 8), 8.0))


def test_contents_of_arguments():
    """Tensors and generators in containers, objects and circles of them, each once."""
    a, b, generator = torch.ones(1), torch.ones(2), torch.Generator()
    circle = [a, {"b": (b, a)}, generator, nn.Linear(2, 2), "text", 1, None]
    circle.append(circle)
    assert [id(each) for each in contents(circle)] == [id(a), id(b), id(generator)]
    for _ in range(10_000):
        circle = [circle]
    assert len(list(contents(circle))) == 3
    assert [id(each) for each in contents(UserDict(a=a))] == [id(a)]
    assert memory_of(a) == memory_of(a.detach()[:0]) != memory_of(b)
    assert memory_of(torch.eye(2).to_sparse()) is None
