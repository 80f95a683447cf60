"""Tensor parallelism: before equalizing it works, after it is refused."""

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)

from equalized_lr import equalize_lr, errors, remove_equalized_lr
from tests.support.assertions import Snapshot
from tests.support.training import make_optimizer, whole

STYLES = {"0": ColwiseParallel(), "2": RowwiseParallel()}


def mlp():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


def parallelize(model):
    return parallelize_module(model, init_device_mesh("cpu", (2,)), STYLES)


def steps(model):
    """Four steps on the same data in each process, as tensor parallelism has it."""
    optimizer = make_optimizer(model)
    for seed in range(4):
        x = torch.randn(6, 8, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    return model


def assert_same(model, expected):
    """Parameters and effective weights of one process."""
    theirs = dict(expected.named_parameters())
    assert [name for name, _ in model.named_parameters()] == list(theirs)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(whole(parameter), theirs[name].detach(), rtol=0, atol=1e-5)
    for mine, other in zip(model.children(), expected.children(), strict=True):
        if isinstance(mine, nn.Linear):
            torch.testing.assert_close(whole(mine.weight), other.weight.detach(), atol=1e-5, rtol=0)


def trained(rank, lr_mul):
    expected = steps(equalize_lr(mlp(), init="keep", lr_mul=lr_mul))
    model = equalize_lr(parallelize(mlp()), init="keep", lr_mul=lr_mul)
    assert all(isinstance(parameter, DTensor) for parameter in model.parameters())
    assert_same(steps(model), expected)
    before = model(torch.ones(2, 8))
    assert_same(remove_equalized_lr(model), remove_equalized_lr(expected))
    torch.testing.assert_close(model(torch.ones(2, 8)), before)


@pytest.mark.parametrize("lr_mul", [1.0, 0.5])
def test_parallelize_then_equalize(world, lr_mul):
    """Column-wise and row-wise layers, with and without scaled biases, trained and given back."""
    world.run(trained, lr_mul)


def refused(rank):
    model = equalize_lr(mlp())
    before = Snapshot(model)
    with pytest.raises(errors.ParallelizeFirst, match="parallelize_module, then equalize_lr"):
        parallelize(model)
    with pytest.raises(errors.ParallelizeFirst):
        model[2].weight = parallelize(mlp())[2].weight
    before.assert_unchanged()


def test_equalize_then_parallelize_is_refused(world):
    """Row-wise layers take the effective weight for the Parameter: the order is refused."""
    world.run(refused)


def wide():
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))


def drawn(rank):
    model = parallelize(wide())
    torch.manual_seed(5 + rank)  # processes may have drawn different numbers before
    equalize_lr(model)
    for layer in (model[0], model[2]):
        weight = whole(layer.weight_orig)
        assert abs(weight.std() - 1) < 0.05
        assert not torch.equal(weight[:32], weight[32:])
        assert not torch.equal(weight[:, :32], weight[:, 32:])
        assert not whole(layer.bias).any()
    alone = wide()
    torch.manual_seed(5)
    assert torch.equal(whole(model[0].weight_orig), equalize_lr(alone)[0].weight_orig)


def test_drawn_in_parallel(world):
    """init="normal" on shards: what rank 0 would draw alone, so that no shard repeats another."""
    world.run(drawn)
