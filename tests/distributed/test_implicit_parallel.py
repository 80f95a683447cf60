"""The implicit form in two processes does what the explicit form does in one."""

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel as DDP

from equalized_lr import equalize_lr, errors, he_scales, remove_equalized_lr
from equalized_lr.optim import LREQAdam, ScaledSteps, clip_grad_norm_, implicit, init_
from tests.support.training import Net, batches, loss_of, whole

pytestmark = pytest.mark.slow

ADAM = {"lr": 0.01, "eps": 1e-3}


def plain():
    torch.manual_seed(1)
    net = equalize_lr(Net())
    scales = he_scales(net)
    return remove_equalized_lr(net), scales


def adam(net, scales):
    return implicit(torch.optim.Adam, net, scales=scales, **ADAM)


def sgd(net, scales):
    return implicit(torch.optim.SGD, net, scales=scales, lr=0.1, momentum=0.9)


def lreqadam(net, scales):
    return implicit(LREQAdam, net, scales=scales, **ADAM)


def scaled(net, scales):
    optimizer = torch.optim.Adam(net.parameters(), **ADAM)
    ScaledSteps(optimizer, net, scales)
    return optimizer


MAKERS = {"Adam": adam, "SGD": sgd, "LREQAdam": lreqadam, "ScaledSteps": scaled}


def trained(make, inputs, prepare=lambda net: net):
    """The parameters after three steps with clipped gradients, and the norms."""
    net, scales = plain()
    called = prepare(net)
    optimizer, norms = make(net, scales), []
    for x in inputs:
        optimizer.zero_grad()
        loss_of(called(x)).backward()
        norms.append(whole(clip_grad_norm_(optimizer, 0.1)))
        optimizer.step()
    return [whole(p) for p in net.parameters()] + norms


def shard(net):
    for block in (*net.blocks, net.attend):
        fully_shard(block, mesh=init_device_mesh("cpu", (2,)))
    return fully_shard(net, mesh=init_device_mesh("cpu", (2,)))


def in_parallel(rank, name, how):
    prepare = {"DDP": DDP, "FSDP2": shard}[how]
    actual = trained(MAKERS[name], batches(rank), prepare)
    expected = trained(MAKERS[name], batches())
    for value, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(value, other, rtol=1e-4, atol=1e-5)


def scales_of_shards(rank):
    net, _ = plain()
    expected = he_scales(net)
    assert he_scales(shard(net)) == expected
    optimizer = implicit(torch.optim.Adam, net, lr=0.01)
    assert sorted({group["equalized_scale"] for group in optimizer.param_groups}) == sorted(
        {1.0, *expected.values()}
    )
    with pytest.raises(errors.ShardedWeight):
        init_(net)


def test_constants_of_a_sharded_model(world):
    """They are those of the whole weights; only drawing them anew is refused."""
    world.run(scales_of_shards)


@pytest.mark.torch(since="2.9", why="FSDP2 on a CPU")
@pytest.mark.parametrize("how", ["DDP", "FSDP2"])
@pytest.mark.parametrize("name", MAKERS)
def test_implicit(world, name, how):
    """Parameters and clipped norms of two processes are those of one."""
    world.run(in_parallel, name, how)
