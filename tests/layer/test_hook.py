"""The pre-hook, reads within a forward, and what a forward leaves behind."""

import contextlib
import copy
import gc
import threading
import weakref

import pytest
import torch
from torch import nn

from equalized_lr import EqualizedLR, equalize_lr
from equalized_lr.errors import StaleWrite
from equalized_lr.layer.caching import Cache, current_cache
from equalized_lr.layer.hook import KEY, hook_of


def slope(function):
    """The derivative of a function's sum, by torch.func."""
    return torch.func.grad(lambda x: function(x).sum())


class Twice(nn.Linear):
    """Reads its weight twice, with something in between."""

    def __init__(self, between=lambda layer: None):
        super().__init__(3, 2)
        self.between = between

    def forward(self, x):
        first = self.weight
        self.between(self)
        self.__dict__["seen"] = first, self.weight
        return super().forward(x)


def seen(between):
    layer = equalize_lr(Twice(between))
    layer(torch.randn(1, 3))
    return layer.seen


def test_the_hook_can_be_seen():
    """`_forward_pre_hooks` shows an EqualizedLR, which says what it does."""
    layer = equalize_lr(nn.Linear(8, 2))
    (hook,) = layer._forward_pre_hooks.values()
    assert isinstance(hook, EqualizedLR)
    assert repr(hook) == "EqualizedLR(weight: c=0.5)"
    assert list(dict(layer.named_parameters())) == ["weight_orig", "bias"]


def test_our_hooks_do_not_take_part_in_torchs_numbering():
    """The hooks have one constant key, and those of the user keep theirs after unpickling."""
    layer = equalize_lr(nn.Linear(3, 2))
    handle = layer.register_forward_pre_hook(lambda module, args: None)
    assert list(layer._forward_pre_hooks) == [KEY, handle.id]
    assert handle.id >= 0 > KEY


def test_one_weight_per_forward():
    """Two reads in one forward are one tensor, and its gradient arrives once."""
    first, second = seen(lambda layer: None)
    assert first is second


def read_bias(layer):
    layer.__dict__["other"] = layer.bias + 1


def no_grad_for_something_else(layer):
    with torch.no_grad():
        layer.bias.add_(1)


@pytest.mark.parametrize("between", [read_bias, no_grad_for_something_else])
def test_harmless_things_in_between(between):
    """What does not concern the weight does not cost a second computation."""
    first, second = seen(between)
    assert first is second


def write(layer):
    with torch.no_grad():
        layer.weight_orig.mul_(2)


def replace(layer):
    other = torch.zeros(2, 3)
    while other._version < layer.weight_orig._version:
        other.zero_()  # only the Parameter itself tells the two apart
    layer.weight_orig = nn.Parameter(other)


def freeze(layer):
    layer.weight_orig.requires_grad_(False)


@pytest.mark.parametrize("between", [write, replace, freeze])
def test_changes_within_a_forward_are_seen(between):
    """A write, another Parameter or requires_grad_ inside of a forward is seen by the next read."""
    layer = equalize_lr(Twice(between))
    layer(torch.randn(1, 3))
    first, second = layer.seen
    assert first is not second
    assert torch.equal(second, layer.weight)
    assert second.requires_grad == layer.weight_orig.requires_grad


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_grad_modes_within_a_forward_do_not_matter(mode):
    """A weight first read without gradients is one through which gradients flow, as a Parameter."""

    class PeekFirst(nn.Linear):
        def forward(self, x):
            with mode():
                self.__dict__["inner"] = self.weight
            assert self.weight is self.inner
            return super().forward(x)

    layer = equalize_lr(PeekFirst(3, 2))
    layer(torch.randn(1, 3)).sum().backward()
    assert layer.inner.requires_grad
    assert not layer.inner.is_inference()
    assert layer.weight_orig.grad is not None


def test_a_weight_that_a_forward_returns():
    """Gradients flow through it, as through a Parameter, wherever it was read."""

    class Returned(nn.Linear):
        def forward(self):
            return self.weight

    layer = equalize_lr(Returned(3, 2))
    with torch.no_grad():
        weight = layer()
    weight.sum().backward()
    assert torch.equal(layer.weight_orig.grad, torch.full((2, 3), hook_of(layer).scales["weight"]))


def test_gradients_within_a_forward_without_them():
    """What a forward of torch has read without gradients is read anew where one is taken."""
    cache, raw = Cache(is_long=False, with_grad=False), nn.Parameter(torch.ones(2, 3))
    with torch.no_grad():
        first = cache.compute(raw, 0.5)
        assert cache.find(raw, 0.5) is first
    assert not first.requires_grad
    assert cache.find(raw, 0.5) is None
    (slope,) = torch.autograd.grad(cache.compute(raw, 0.5).sum(), raw)
    assert torch.equal(slope, torch.full((2, 3), 0.5))


def test_a_write_into_an_outdated_weight_of_a_forward_is_refused():
    """What a forward wrote through a tensor that was out of date would be lost."""

    class WritesLate(nn.Linear):
        def forward(self, x):
            outdated = self.weight
            with torch.no_grad():
                self.weight_orig.mul_(2)
                y = super().forward(x)
                outdated.zero_()
            return y

    layer = equalize_lr(WritesLate(3, 2))
    with pytest.raises(StaleWrite, match=r"shape \(2, 3\)"):
        layer(torch.randn(1, 3))


def test_a_frozen_weight_of_inference_mode_does_not_leak():
    """A frozen weight that was read in inference mode can be saved for backward."""

    class PeekFirst(nn.Linear):
        def forward(self, x):
            with torch.inference_mode():
                assert not self.weight.is_inference()
            return super().forward(x)

    layer = equalize_lr(PeekFirst(3, 2)).requires_grad_(False)
    x = torch.randn(1, 3, requires_grad=True)
    layer(x).sum().backward()
    assert torch.allclose(x.grad, layer.weight.sum(dim=0))


def test_inference_parameters_work():
    """A model that was built in inference mode, whose tensors have no versions, still computes."""
    with torch.inference_mode():
        layer = equalize_lr(Twice())
        layer(torch.randn(1, 3))
    assert torch.equal(*layer.seen)


def test_two_backwards_within_one_forward():
    """A forward that differentiates through its weight twice works, as with a plain weight."""

    class Norms(nn.Linear):
        def forward(self, x):
            total = 0.0
            for _ in range(2):
                y = nn.functional.linear(x, self.weight).sum()
                total += torch.autograd.grad(y, self.weight_orig)[0].sum().item()
            return total

    layer = equalize_lr(Norms(3, 2), gain=2.0)
    assert layer(torch.ones(4, 3)) == pytest.approx(2 * 4 * 6 * 2 / 3**0.5, rel=1e-5)


def test_functorch_levels_are_live():
    """Under torch.func, where tensors belong to a level, nothing is held."""
    layer = equalize_lr(Twice())
    state = dict(layer.named_parameters())

    def loss(parameters):
        return torch.func.functional_call(layer, parameters, torch.ones(1, 3)).sum()

    gradients = torch.func.grad(loss)(state)
    plain = torch.ones(2, 3) * hook_of(layer).scales["weight"]
    assert torch.equal(gradients["weight_orig"], plain)
    assert torch.equal(layer.weight, layer.weight_orig * hook_of(layer).scales["weight"])


@pytest.mark.parametrize("transform", [torch.func.functionalize, torch.func.vmap, slope])
def test_a_functorch_level_within_a_forward_does_not_leak(transform):
    """A weight that was first read under a transform of torch.func is not used outside of it."""

    class Inner(nn.Linear):
        def forward(self, x):
            inner = transform(lambda v: nn.functional.linear(v, self.weight))(x)
            return super().forward(x).sum() + 0 * inner.sum()

    layer = equalize_lr(Inner(3, 2))
    layer(torch.ones(4, 3)).backward()
    scale = hook_of(layer).scales["weight"]
    assert torch.allclose(layer.weight_orig.grad, torch.full((2, 3), 4 * scale))


def test_nothing_outlives_a_forward():
    """After forward and backward no effective weight is alive, and none hangs on the layer."""
    layer = equalize_lr(Twice())
    layer(torch.randn(1, 3)).sum().backward()
    alive = [weakref.ref(weight) for weight in layer.__dict__.pop("seen")]
    gc.collect()
    assert [ref() for ref in alive] == [None, None]
    assert current_cache() is None
    assert not any(isinstance(v, torch.Tensor) for v in layer.__dict__.values())


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_outlives_an_exception(error):
    """A forward that fails lets go of its weights, and reads after an interrupt keep none."""
    alive = []

    def fail(layer):
        alive.append(weakref.ref(layer.weight))
        raise error

    layer = equalize_lr(Twice(fail))
    with contextlib.suppress(error):
        layer(torch.randn(1, 3))
    gc.collect()
    assert alive[0]() is None
    read = weakref.ref(layer.weight)
    gc.collect()
    assert read() is None


def test_an_interrupted_forward_leaves_no_cache():
    """After a KeyboardInterrupt, for which torch calls no hook, reads compute and copies work."""

    def interrupt(layer):
        raise KeyboardInterrupt

    layer = equalize_lr(Twice(interrupt))
    with pytest.raises(KeyboardInterrupt):
        layer(torch.randn(1, 3))
    assert current_cache() is None
    layer.between = None
    assert torch.equal(copy.deepcopy(layer).weight, layer.weight)


def test_a_write_is_stored_before_hooks_of_the_user_run():
    """A later pre-hook finds what was written through a weight that is still held."""
    layer, stored = equalize_lr(nn.Linear(4, 2), gain=1.0), []
    layer.register_forward_pre_hook(lambda m, args: stored.append(m.weight_orig.clone()))
    weight = layer.weight
    with torch.no_grad():
        weight.fill_(3.0)
    layer(torch.ones(1, 4))
    assert torch.equal(stored[0], torch.full((2, 4), 6.0))


def test_a_forward_within_a_forward():
    """A layer that calls itself is right before, in and after the inner call."""

    class Again(nn.Linear):
        def forward(self, x, depth=2):
            before = self.weight
            inner = self(x, depth - 1) if depth else 0
            assert torch.equal(before, self.weight)
            return super().forward(x) + inner

    layer = equalize_lr(Again(3, 3))
    x = torch.randn(1, 3)
    assert torch.allclose(layer(x), 3 * (x @ layer.weight.T))


def test_two_threads_in_one_layer():
    """While one thread is inside of a forward, another one's reads are its own."""
    inside, go_on = threading.Event(), threading.Event()

    def wait(layer):
        if threading.current_thread() is not threading.main_thread():
            inside.set()
            assert go_on.wait(60)

    layer = equalize_lr(Twice(wait))

    def evaluate():
        with torch.no_grad():
            layer(torch.randn(1, 3))

    thread = threading.Thread(target=evaluate)
    thread.start()
    assert inside.wait(60)
    assert layer.weight.requires_grad
    layer(torch.randn(1, 3)).sum().backward()
    go_on.set()
    thread.join()
    assert layer.weight_orig.grad is not None


def test_hooks_of_the_user_read_live_weights():
    """Forward hooks, pre-hooks and backward hooks of the user see c * w."""
    layer, seen_in = equalize_lr(nn.Linear(3, 2)), {}
    layer.register_forward_pre_hook(lambda m, args: seen_in.update(pre=m.weight), prepend=True)
    layer.register_forward_hook(lambda m, args, out: seen_in.update(post=m.weight))
    layer.register_full_backward_hook(lambda m, *grads: seen_in.update(back=m.weight))
    layer(torch.randn(1, 3, requires_grad=True)).sum().backward()
    for weight in seen_in.values():
        assert torch.equal(weight, layer.weight)
    assert set(seen_in) == {"pre", "post", "back"}


def test_data_parallel_replicas_read_their_own_parameter():
    """A replica holds its parameters as attributes; its weight is computed from those."""
    layer = equalize_lr(nn.Linear(3, 2))
    replica = layer._replicate_for_data_parallel()
    replica.weight_orig = torch.ones(2, 3)
    assert torch.equal(replica.weight, torch.ones(2, 3) * hook_of(layer).scales["weight"])
