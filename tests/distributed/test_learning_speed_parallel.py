"""`LearningSpeed` in two processes says what it says in one, of whole weights and not of shards."""

import contextlib

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP1
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)
from torch.nn.parallel import DistributedDataParallel

from equalized_lr import LearningSpeed, equalize_lr, errors
from tests.support.training import batches, build, loss_of, make_optimizer

pytestmark = pytest.mark.slow


def follow(model, inputs, called=None):
    """The relative steps of a training, by the weights' own names."""
    optimizer = make_optimizer(model)
    with LearningSpeed(model, optimizer, every=1) as speed:
        for x in inputs:
            optimizer.zero_grad()
            loss_of((called or model)(x)).backward()
            optimizer.step()
    return speed.relative_steps


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, points in found.items():
        assert [step for step, _ in points] == [step for step, _ in expected[name]]
        values = [value for _, value in expected[name]]
        assert [value for _, value in points] == pytest.approx(values, rel=1e-3)


def sharded(rank, kind):
    model = build()
    if kind == "FSDP2":
        called = fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    else:
        called = DistributedDataParallel(model)
    assert_same(follow(model, batches(rank), called), follow(build(), batches()))


@pytest.mark.torch(since="2.9", why="FSDP2 on a CPU")
@pytest.mark.parametrize("kind", ["FSDP2", "DDP"])
def test_sharded(world, kind):
    """The norms of shards are put together."""
    world.run(sharded, kind)


def tensor_parallel(rank):
    def mlp():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))

    inputs = [torch.randn(6, 8, generator=torch.Generator().manual_seed(k)) for k in range(4)]
    styles = {"0": ColwiseParallel(), "2": RowwiseParallel()}
    parallel = parallelize_module(mlp(), init_device_mesh("cpu", (2,)), styles)
    torch.manual_seed(4)
    expected = follow(equalize_lr(mlp(), init="keep"), inputs)
    assert_same(follow(equalize_lr(parallel, init="keep"), inputs), expected)


def test_tensor_parallel(world):
    """Columns and rows are parts of one weight."""
    world.run(tensor_parallel)


def fsdp1(rank, flat):
    model = FSDP1(build(), use_orig_params=not flat, device_id=torch.device("cpu"))
    with contextlib.suppress(errors.NothingToFollow):
        LearningSpeed(model, make_optimizer(model)).__enter__()
        raise AssertionError("followed")


@pytest.mark.parametrize("flat", [True, False], ids=["flat", "use_orig_params"])
def test_fsdp1(world, flat):
    """Flattened weights are refused, since their shards would be taken for weights."""
    world.run(fsdp1, flat)
