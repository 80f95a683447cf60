"""torch.distributed.checkpoint: saved by two processes, loaded by one, and the other way round."""

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from equalized_lr import equalize_lr
from tests.support.training import (
    Net,
    assert_as_alone,
    batches,
    build,
    loss_of,
    make_optimizer,
    train,
    values,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:torch.distributed is disabled"),
]


def shard(model):
    for block in (*model.blocks, model.attend):
        fully_shard(block, mesh=init_device_mesh("cpu", (2,)))
    return fully_shard(model, mesh=init_device_mesh("cpu", (2,)))


def save_sharded(rank, path):
    model = shard(build())
    optimizer = make_optimizer(model)
    for x in batches(rank)[:2]:
        optimizer.zero_grad()
        loss_of(model(x)).backward()
        optimizer.step()
    model_state, optimizer_state = get_state_dict(model, optimizer)
    dcp.save({"model": model_state, "optimizer": optimizer_state}, checkpoint_id=path)


def resume_sharded(rank, path):
    torch.manual_seed(9)
    model = shard(equalize_lr(Net()))
    optimizer = make_optimizer(model)
    model_state, optimizer_state = get_state_dict(model, optimizer)
    dcp.load({"model": model_state, "optimizer": optimizer_state}, checkpoint_id=path)
    set_state_dict(model, optimizer, model_state_dict=model_state, optim_state_dict=optimizer_state)
    loss_of(model(batches(rank)[2])).backward()
    optimizer.step()
    assert_as_alone(model)


@pytest.mark.torch(since="2.9", why="FSDP2 on a CPU")
def test_saved_and_resumed_by_two(world, tmp_path):
    """Two steps, a sharded checkpoint with the optimizer, a third step in new models."""
    world.run(save_sharded, str(tmp_path))
    world.run(resume_sharded, str(tmp_path))


@pytest.mark.torch(since="2.9", why="FSDP2 on a CPU")
def test_saved_by_two_resumed_by_one(world, tmp_path):
    """The same checkpoint in a single process without sharding."""
    world.run(save_sharded, str(tmp_path))
    torch.manual_seed(9)
    model = equalize_lr(Net())
    optimizer = make_optimizer(model)
    model_state, optimizer_state = get_state_dict(model, optimizer)
    dcp.load({"model": model_state, "optimizer": optimizer_state}, checkpoint_id=str(tmp_path))
    set_state_dict(model, optimizer, model_state_dict=model_state, optim_state_dict=optimizer_state)
    loss_of(model(batches()[2])).backward()
    optimizer.step()
    assert_as_alone(model)


def load_by_two(rank, path):
    model = shard(equalize_lr(Net()))
    state = get_model_state_dict(model)
    dcp.load({"model": state}, checkpoint_id=path)
    set_model_state_dict(model, state)
    for name, value in values(build()).items():
        torch.testing.assert_close(values(model)[name], value, rtol=0, atol=0)


@pytest.mark.torch(since="2.9", why="FSDP2 on a CPU")
def test_saved_by_one_loaded_by_two(world, tmp_path):
    """The way back: bit for bit."""
    dcp.save({"model": get_model_state_dict(build())}, checkpoint_id=str(tmp_path))
    world.run(load_by_two, str(tmp_path))


def full_state(rank, path):
    model = train(shard(build()), batches(rank))
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state = get_model_state_dict(model, options=options)
    if rank == 0:
        torch.save(state, path)
    assert_as_alone(model)


@pytest.mark.torch(since="2.9", why="FSDP2 on a CPU")
def test_a_full_checkpoint_of_shards(world, tmp_path):
    """Rank 0 gathers everything; the file loads into a single process by weights_only."""
    world.run(full_state, str(tmp_path / "full.pt"))
    model = equalize_lr(Net())
    model.load_state_dict(torch.load(tmp_path / "full.pt", weights_only=True))
    assert_as_alone(model)


def load_plain(rank, path):
    model = shard(build())
    state = torch.load(path, weights_only=True)
    set_model_state_dict(
        model,
        state,
        options=StateDictOptions(full_state_dict=True, broadcast_from_rank0=False),
    )
    return model.head.weight.full_tensor().detach()


def test_a_plain_checkpoint_into_shards(world, tmp_path):
    """torch's helper goes by the names of the model, and says which ones are missing."""
    torch.save(Net().state_dict(), tmp_path / "plain.pt")
    with pytest.raises(AssertionError, match="weight_orig"):
        world.run(load_plain, str(tmp_path / "plain.pt"))
