"""DistributedDataParallel in two processes does what one process does."""

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel as DDP

from training import assert_as_alone, batches, build, train

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
