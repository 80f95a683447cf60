"""DistributedDataParallel in two processes does what one process does."""

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel as DDP

from tests.support.mechanisms import wrap_in_common_hooks
from tests.support.training import Net, assert_as_alone, batches, build, train

PLAIN = {
    "plain": {},
    "static graph": {"static_graph": True},
    "gradients as views": {"gradient_as_bucket_view": True},
}


def ddp(rank, options):
    model = build()
    train(model, batches(rank), DDP(model, **options))
    assert_as_alone(model)


@pytest.mark.parametrize("options", PLAIN.values(), ids=PLAIN)
def test_ddp(world, options):
    """Attention's out_proj included."""
    world.run(ddp, options)


def ddp_with_unused(rank):
    model = build(unused=True)
    train(model, batches(rank), DDP(model, find_unused_parameters=True))
    assert model.unused.weight_orig.grad is None
    assert_as_alone(model, unused=True)


def test_unused_parameters(world):
    """A layer that is never called is found unused by its stored weight."""
    world.run(ddp_with_unused)


def ddp_compiled(rank, backend):
    model = build()
    train(model, batches(rank), torch.compile(DDP(model), backend=backend))
    assert_as_alone(model)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled(world, backend):
    """DDP's buckets split the compiled graph; the weights are the same."""
    world.run(ddp_compiled, backend)


def ddp_accumulates(rank):
    from equalized_lr import cached

    model = build()
    parallel = DDP(model)
    for seed in (0, 1):
        with parallel.no_sync() if seed == 0 else torch.enable_grad(), cached():
            parallel(batches(rank)[seed]).square().mean().backward()
    expected = build()
    for seed in (0, 1):
        expected(batches()[seed]).square().mean().backward()
    for (name, p), (_, q) in zip(
        model.named_parameters(), expected.named_parameters(), strict=True
    ):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_accumulation_without_synchronisation(world):
    """no_sync for the first of two backwards, each inside `cached()`."""
    world.run(ddp_accumulates)


def common_hooks_fail(rank):
    for options in ({}, {"find_unused_parameters": True}):
        model = DDP(wrap_in_common_hooks(Net()), **options)
        with pytest.raises(AttributeError, match="has no attribute 'weight'"):
            train(model.module, batches(rank), model)
    model = fully_shard(wrap_in_common_hooks(Net()), mesh=init_device_mesh("cpu", (2,)))
    with pytest.raises(AttributeError, match="has no attribute 'weight'"):
        train(model, batches(rank))


@pytest.mark.torch(since="2.9", why="FSDP2 on a CPU")
def test_the_common_hook(world):
    """Negative control: attention's out_proj has no weight behind a hook that is never called."""
    world.run(common_hooks_fail)
