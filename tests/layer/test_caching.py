"""`cached()`: computed once, never stale, for one thread, in any grad mode."""

import copy
import sys
import threading
import weakref
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrize import cached as torchs_cached
from torch.nn.utils.parametrize import register_parametrization
from torch.optim.optimizer import _global_optimizer_post_hooks

from equalized_lr import cached, equalize_lr, he_scales, plain_state_dict
from equalized_lr.layer.caching import current_cache
from tests.support.assertions import assert_equal

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def layer():
    return equalize_lr(nn.Linear(6, 3))


class OldOptimizer(torch.optim.Optimizer):
    """Writes through `.data`, which leaves no trace on the parameter."""

    def __init__(self, params):
        super().__init__(params, {})

    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data.add_(parameter.grad.data, alpha=-0.1)


def test_computed_once(layer):
    """Many forwards and reads are one tensor, which does not outlive the block."""
    with cached():
        weight = layer.weight
        for _ in range(3):
            layer(X)
            assert layer.weight is weight
    assert current_cache() is None
    last = weakref.ref(weight)
    del weight
    assert last() is None


@pytest.mark.parametrize("part", [lambda weight: weight, lambda weight: weight.view(-1)])
@pytest.mark.parametrize("end", ["block", "step", "load"])
def test_what_is_held_may_be_written_when_the_cache_is_gone(layer, end, part):
    """A write into a weight of the block counts after it, and after what empties the cache."""
    with cached():
        held = part(layer.weight)
        if end == "step":
            torch.optim.SGD([nn.Parameter(torch.ones(1))]).step()
        if end == "load":
            layer.load_state_dict(nn.Linear(6, 3).state_dict())
            layer(X)
        if end != "block":
            with torch.no_grad():
                held.fill_(3.0)
            assert_equal(layer.weight.detach(), torch.full((3, 6), 3.0))
    with torch.no_grad():
        held.fill_(2.0)
    assert_equal(layer.weight.detach(), torch.full((3, 6), 2.0))


def test_apply_and_cached(layer):
    """What `apply` writes through `.data` is stored in a block, and where it opens one itself."""
    with cached(), torch.no_grad():
        layer(X)
        layer.weight.fill_(1.0)
        layer.apply(lambda layer: layer.weight.data.add_(1.0))
        assert_equal(layer.weight.detach(), torch.full((3, 6), 2.0))
    assert_equal(layer.weight.detach(), torch.full((3, 6), 2.0))
    layer.apply(cached()(lambda layer: layer.weight.data.add_(1.0)))
    assert_equal(layer.weight.detach(), torch.full((3, 6), 3.0))


def test_forwards_use_what_is_kept(layer):
    """Gradients of forwards pass through the very tensor that is kept."""
    with cached():
        layer.weight.retain_grad()
        for count in (1, 2):
            layer(X).sum().backward()
            assert_equal(layer.weight.grad, count * X.sum(0).expand(3, 6))


def test_replaced_data_is_seen_after_a_write(layer):
    """A write that was stored leaves all signs of a change to be looked at."""
    with cached():
        nn.init.zeros_(layer.weight)
        assert not layer.weight.any()
        layer.weight_orig.data = torch.ones(3, 6)
        assert_equal(layer.weight, torch.full((3, 6), layer_scale(layer)))


def test_a_write_into_a_complex_weight():
    """It is not kept, but what is written into it counts."""
    layer = equalize_lr(nn.Linear(6, 3, dtype=torch.complex64))
    with cached(), torch.no_grad():
        layer.weight.fill_(2j)
    # Versions of torch round complex quotients differently.
    torch.testing.assert_close(layer.weight.detach(), torch.full((3, 6), 2j))


def test_a_tie_to_a_weight_that_was_read_outside(layer):
    """Its layer is found, though the weight is not among those that are kept."""
    other = equalize_lr(nn.Linear(6, 3))
    weight = other.weight
    with cached():
        layer.weight = weight
    assert layer.weight_orig is other.weight_orig


def test_gradients_of_all_forwards_arrive(layer):
    """Losses with a backward each, and one after the block, add up as without the cache."""
    plain = copy.deepcopy(layer)
    with cached():
        for inputs in (X, 2 * X, -X):
            layer(inputs).square().sum().backward()
        last = layer(X).sum()
    last.backward()
    for inputs in (X, 2 * X, -X):
        plain(inputs).square().sum().backward()
    plain(X).sum().backward()
    torch.testing.assert_close(layer.weight_orig.grad, plain.weight_orig.grad)


def test_second_order_gradients(layer):
    """A gradient penalty between two other losses of the block."""
    plain = copy.deepcopy(layer)

    def losses(critic):
        inputs = X.clone().requires_grad_()
        critic(X).mean().backward()
        (slope,) = torch.autograd.grad(critic(inputs).square().sum(), inputs, create_graph=True)
        slope.square().sum().backward()
        critic(-X).mean().backward()

    with cached():
        losses(layer)
    losses(plain)
    torch.testing.assert_close(layer.weight_orig.grad, plain.weight_orig.grad)


@pytest.mark.parametrize(
    "make", [lambda p: torch.optim.SGD(p, 0.1), lambda p: torch.optim.Adam(p, 0.1), OldOptimizer]
)
def test_a_step_in_between_is_seen(layer, make):
    """After an optimizer's step the weight is computed anew, however the optimizer writes."""
    optimizer = make(layer.parameters())
    with cached():
        for _ in range(3):
            assert_equal(layer.weight, layer.weight_orig * layer_scale(layer))
            layer(X).square().sum().backward()
            optimizer.step()
            assert_equal(layer.weight, layer.weight_orig * layer_scale(layer))


def layer_scale(layer):
    return layer._forward_pre_hooks[-1].scales["weight"]


def test_the_tests_would_see_a_stale_weight():
    """Negative control: torch's own cache of parametrizations does not see a step."""

    class Half(nn.Module):
        def forward(self, weight):
            return weight / 2

    layer = register_parametrization(nn.Linear(6, 3), "weight", Half())
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    with torchs_cached():
        layer(X).square().sum().backward()
        optimizer.step()
        assert not torch.equal(layer.weight, layer.parametrizations.weight.original / 2)


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: layer.load_state_dict({k: 2 * v for k, v in layer.state_dict().items()}),
        lambda layer: layer.reset_parameters(),
        lambda layer: setattr(layer, "weight", nn.Parameter(torch.ones(3, 6))),
        lambda layer: layer.weight_orig.detach().zero_(),
        lambda layer: setattr(layer, "weight_orig", nn.Parameter(torch.ones(3, 6))),
        lambda layer: layer.double(),
        lambda layer: setattr(layer.weight_orig, "data", torch.ones(3, 6)),
        lambda layer: setattr(layer.weight_orig, "data", layer.weight_orig.data.view(6, 3).T),
        lambda layer: setattr(layer.weight_orig, "data", layer.weight_orig.data[:2]),
        lambda layer: layer.weight.detach().fill_(7.0),
        lambda layer: layer.weight_orig.requires_grad_(False),
    ],
    ids=[
        "load",
        "reset",
        "assign",
        "in place",
        "replace",
        "dtype",
        "swap data",
        "swap for other strides",
        "swap for a part",
        "write to computed",
        "freeze",
    ],
)
def test_any_other_change_is_seen(layer, change):
    """Values, objects, dtypes, and what somebody wrote into the computed weight."""
    with cached():
        layer(X)
        change(layer)
        assert_equal(layer.weight, layer.weight_orig * layer_scale(layer))
        assert layer.weight.requires_grad == layer.weight_orig.requires_grad


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_grad_modes_do_not_matter(layer, mode):
    """A weight first read in an evaluation takes the gradient of the loss that follows."""
    with cached():
        with mode():
            assert not layer(X).requires_grad
            weight = layer.weight
        assert layer.weight is weight
        layer(X).sum().backward()
    assert layer.weight_orig.grad is not None


def test_nested(layer):
    """The outermost block counts: the end of an inner one does not empty it."""
    with cached():
        weight = layer.weight
        with cached():
            assert layer.weight is weight
        assert layer.weight is weight
    assert current_cache() is None


def test_an_exception_ends_it(layer):
    """A block left by an exception leaves no cache and no hook behind."""
    hooks = dict(_global_optimizer_post_hooks)
    layer.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError), cached():
        layer(X)
    assert current_cache() is None
    assert _global_optimizer_post_hooks == hooks


def test_a_block_that_ends_in_another_thread(layer):
    """A generator closed elsewhere ends its block in the thread that entered it, too."""

    def generator():
        with cached():
            yield layer.weight

    running = generator()
    weight = next(running)
    assert layer.weight is weight
    thread = threading.Thread(target=running.close)
    thread.start()
    thread.join()
    assert current_cache() is None
    with cached():
        assert layer.weight is layer.weight


def test_each_thread_has_its_own(layer):
    """A thread that did not enter a block computes, without gradients if it wants."""
    seen = []
    with cached():
        weight = layer.weight
        thread = threading.Thread(target=lambda: seen.append((current_cache(), layer.weight)))
        thread.start()
        thread.join()
    ((cache, other),) = seen
    assert cache is None
    assert other is not weight


def test_two_layers_do_not_mix():
    """Layers that share a stored weight share the computed one only if c is the same."""
    first, second = (equalize_lr(nn.Linear(6, 3), gain=gain) for gain in (1.0, 2.0))
    second.weight_orig = first.weight_orig
    with cached():
        assert_equal(2 * first.weight, second.weight)


def test_copies_do_not_share(layer):
    """A copy made inside the block has weights of its own; torch's cache would give it these."""
    with cached():
        layer(X)
        twin = copy.deepcopy(layer)
        with torch.no_grad():
            twin.weight_orig.zero_()
        assert not twin.weight.any()
        assert layer.weight.any()


def test_transforms_inside(layer):
    """Inside torch.func the weight belongs to its level, and leaves nothing behind."""
    with cached():
        weight = layer.weight
        slope = torch.func.grad(lambda inputs: layer(inputs).sum())(X)
        assert_equal(slope, weight.sum(0).expand_as(slope))
        assert layer.weight is weight


@pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated")
def test_traces_do_not_see_constants(layer):
    """What is traced inside the block computes the weight itself."""
    with cached():
        layer(X)
        trace = torch.jit.trace(layer, (X,))
    with torch.no_grad():
        layer.weight_orig.mul_(2)
    torch.testing.assert_close(trace(X), layer(X))


def test_exports_do_not_see_constants(layer):
    """What is exported inside the block holds the stored weight."""
    with cached():
        layer(X)
        program = torch.export.export(layer, (X,), strict=False)
    assert set(program.state_dict) == {"weight_orig", "bias"}
    torch.testing.assert_close(program.module()(X), layer(X))


def test_compiled_code_is_not_concerned(layer):
    """A compiled layer sees every step inside the block."""
    compiled = torch.compile(layer, backend="eager")
    with cached():
        for _ in range(2):
            torch.testing.assert_close(compiled(X), layer(X))
            with torch.no_grad():
                layer.weight_orig.mul_(2)


def test_it_is_off_beside_fsdp2(layer, monkeypatch):
    """Where fully_shard is in use, whose weights change without a trace, forwards compute."""

    class Sharding:
        pass

    module = type(sys)("torch.distributed.fsdp")
    module.FSDPModule = Sharding
    monkeypatch.setitem(sys.modules, "torch.distributed.fsdp", module)
    with cached():
        assert layer.weight is layer.weight
    _ = type("FSDPLinear", (Sharding,), {})
    with cached():
        assert layer.weight is not layer.weight


def test_conjugates_are_no_match():
    """A parameter that became its own conjugate lies where it lay, and is another weight."""
    layer = equalize_lr(nn.Linear(2, 2, dtype=torch.complex64))
    with cached():
        before = layer.weight
        layer.weight_orig.data = layer.weight_orig.data.conj()
        assert_equal(layer.weight, before.conj())


@pytest.mark.parametrize("block", [nullcontext, cached], ids=["alone", "cached"])
def test_inference_tensors(block):
    """A model that was made in inference mode has tensors without versions: each read computes."""
    with torch.inference_mode():
        layer = equalize_lr(nn.LSTM(3, 4))
        expected = layer(torch.ones(2, 1, 3))[0]
    with torch.no_grad(), block():
        for _ in range(2):
            scale = he_scales(layer)["weight_ih_l0"]
            assert_equal(layer.weight_ih_l0, layer.weight_ih_l0_orig * scale)
            assert_equal(layer(torch.ones(2, 1, 3))[0], expected)


def test_layers_that_share_within_a_forward_share_over_forwards(layer):
    """Layers that may read several times are computed once in the block, too."""
    lstm, weights = equalize_lr(nn.LSTM(3, 4)), []
    lstm.register_forward_pre_hook(lambda module, _: weights.append(module.weight_ih_l0))
    with cached():
        for _ in range(2):
            lstm(torch.ones(2, 1, 3))
        assert weights[0] is weights[1] is lstm.weight_ih_l0


def test_the_address_of_exchanged_memory_is_not_reused(layer):
    """Exchanged data may not lie where the kept weight's did, or they would be taken for them."""

    def comes_back():
        layer.weight_orig.data = torch.randn(64, 64)
        address = layer.weight_orig.data_ptr()
        _ = layer.weight
        layer.weight_orig.data = torch.zeros(1)
        others = [torch.randn(64, 64) for _ in range(100)]
        return any(other.data_ptr() == address for other in others)

    with cached():
        assert not any(comes_back() for _ in range(20))


def test_a_weight_that_is_written_twice_in_a_block():
    """The tensor that was stored stays the one in the cache, so that a later write counts."""
    layer = equalize_lr(nn.Linear(8, 3))  # c = 0.5: all numbers here are exact
    before = layer.weight_orig.detach().clone()
    with cached(), torch.no_grad():
        weight = layer.weight
        for _ in range(2):
            weight.mul_(2)
            assert layer.weight is weight
    assert_equal(layer.weight_orig.detach(), 4 * before)


def test_nothing_is_kept_while_a_graph_is_captured(layer, monkeypatch):
    """A replay would read the weight of the capture, or memory that is gone."""
    capturing = False
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: capturing)
    with cached():
        before = layer.weight
        assert layer.weight is before
        capturing = True
        during = layer.weight
        assert during is not before
        assert layer.weight is not before
        del during
        capturing = False
        assert layer.weight is before


def test_who_looks_inside_of_a_block_sees_what_was_written(layer):
    """Copies, files and conversions have the values that forwards have."""
    with cached(), torch.no_grad():
        layer.weight.fill_(3.0)
        assert_equal(plain_state_dict(layer)["weight"], torch.full((3, 6), 3.0))
        layer.weight.fill_(2.0)
        assert_equal(copy.deepcopy(layer).weight.detach(), torch.full((3, 6), 2.0))


def test_a_step_concerns_the_parameters_that_it_trains():
    """What is kept of other models stays, whichever thread steps; of its own it is dropped."""
    layer, other = (equalize_lr(nn.Linear(3, 2)) for _ in range(2))
    other(torch.randn(1, 3)).sum().backward()
    with cached():
        first, own = layer.weight, other.weight
        step = torch.optim.SGD(other.parameters(), lr=1.0).step
        thread = threading.Thread(target=step)
        thread.start()
        thread.join()
        assert layer.weight is first
        assert other.weight is not own
        assert torch.equal(other.weight, own)  # which is held, and follows
