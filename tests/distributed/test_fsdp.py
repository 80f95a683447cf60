"""FSDP2 and FSDP1 in two processes do what one process does."""

import contextlib

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP1
from torch.distributed.fsdp import MixedPrecisionPolicy, ShardingStrategy, fully_shard
from torch.distributed.tensor import DTensor

from equalized_lr import (
    cached,
    equalize_lr,
    errors,
    is_equalized,
    plain_state_dict,
    remove_equalized_lr,
)
from tests.support.training import Net, alone, assert_as_alone, batches, build, train, values, whole


def mesh():
    return init_device_mesh("cpu", (2,))


def shard(model, *, each_layer, **options):
    if each_layer:
        for block in (*model.blocks, model.attend):
            fully_shard(block, mesh=mesh(), **options)
    return fully_shard(model, mesh=mesh(), **options)


def fsdp2(rank, each_layer, reshard):
    model = shard(build(), each_layer=each_layer, reshard_after_forward=reshard)
    assert all(isinstance(parameter, DTensor) for parameter in model.parameters())
    train(model, batches(rank))
    assert_as_alone(model)


@pytest.mark.torch(since="2.9", why="FSDP2 on a CPU")
@pytest.mark.parametrize("reshard", [True, False], ids=["reshard", "keep"])
@pytest.mark.parametrize("each_layer", [True, False], ids=["each layer", "root"])
def test_fsdp2(world, each_layer, reshard):
    """fully_shard per layer and at the root, with parameters given up after forward and kept."""
    world.run(fsdp2, each_layer, reshard)


def fsdp2_inside_cached(rank):
    for before in (True, False):
        model = build()
        with cached() if before else contextlib.nullcontext():
            if before:
                model(batches(rank)[0])
            shard(model, each_layer=True, reshard_after_forward=False)
            with cached():
                train(model, batches(rank))
        assert_as_alone(model)


@pytest.mark.torch(since="2.9", why="FSDP2 on a CPU")
def test_fsdp2_inside_cached(world):
    """Gathered weights change without a trace: `cached()` must not believe them, even if the model
    was sharded inside it, after a forward."""
    world.run(fsdp2_inside_cached)


def fsdp2_mixed(rank):
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    model = build()
    for index, block in enumerate(model.blocks):
        model.blocks[index] = checkpoint_wrapper(block)
    shard(model, each_layer=True, mp_policy=policy)
    seen = []
    model.head.register_forward_hook(lambda layer, args, out: seen.append(layer.weight.dtype))
    train(model, batches(rank))
    assert seen == [torch.bfloat16] * 3
    before, expected, actual = values(build()), alone(), values(model)
    distance = sum((actual[name] - value).square().sum() for name, value in expected.items())
    length = sum((before[name] - value).square().sum() for name, value in expected.items())
    # bfloat16 has 8 bits, and Adam turns the sign of the smallest gradients into whole steps
    assert (distance / length).sqrt() < 0.1


@pytest.mark.torch(since="2.9", why="FSDP2 on a CPU")
def test_fsdp2_with_mixed_precision_and_activation_checkpointing(world):
    """Weights are computed in bfloat16 from shards in float32, twice where recomputed."""
    world.run(fsdp2_mixed)


def fsdp2_compiled(rank):
    model = build()
    for block in model.blocks:
        block.compile(backend="aot_eager")
    train(shard(model, each_layer=True), batches(rank))
    assert_as_alone(model)


@pytest.mark.torch(since="2.9", why="FSDP2 on a CPU")
@pytest.mark.slow
def test_fsdp2_with_compiled_blocks(world):
    """Compiled blocks, sharded one by one."""
    world.run(fsdp2_compiled)


def fsdp2_from_meta(rank):
    expected = build()
    with torch.device("meta"):
        model = equalize_lr(Net())
    shard(model, each_layer=True)
    model.to_empty(device="cpu")
    for name, parameter in model.named_parameters():
        whole = expected.get_parameter(name).detach()
        part = whole.chunk(2)[rank] if whole.shape[0] >= 2 else whole
        with torch.no_grad():
            parameter.to_local().copy_(part)
    train(model, batches(rank))
    assert_as_alone(model)


@pytest.mark.torch(since="2.9", why="FSDP2 on a CPU")
def test_fsdp2_from_the_meta_device(world):
    """Built and equalized without memory, sharded, then filled shard by shard."""
    world.run(fsdp2_from_meta)


def fsdp2_reset(rank):
    with torch.device("meta"):
        model = equalize_lr(Net())
    shard(model, each_layer=True)
    model.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(torch.nan)
    for module in model.modules():
        for name in ("reset_parameters", "_reset_parameters"):
            if hasattr(module, name) and is_equalized(module):
                getattr(module, name)()
    for name, parameter in model.named_parameters():
        whole = parameter.full_tensor()
        assert whole.isfinite().all(), name
    bound = 8**-0.5
    weight = model.head.weight.full_tensor()
    assert 0.5 * bound < weight.abs().max() <= bound


def test_a_sharded_reset(world):
    """reset_parameters on shards draws effective weights, or refuses; it never leaves garbage."""
    world.run(fsdp2_reset)


def sharded_first(rank):
    model = shard(Net(), each_layer=False)
    for target in (model, model.blocks[0], model.head):
        with pytest.raises(errors.ShardedWeight, match="before fully_shard"):
            equalize_lr(target)
    equalized = shard(build(), each_layer=True)
    with pytest.raises(errors.ShardedWeight, match="not sharded"):
        remove_equalized_lr(equalized)


def test_the_order_that_does_not_work(world):
    """Equalizing or giving back what fully_shard has taken is refused, parts of it as well."""
    world.run(sharded_first)


def fsdp1(rank, strategy):
    model = FSDP1(
        build(),
        use_orig_params=True,
        device_id=torch.device("cpu"),
        sharding_strategy=getattr(ShardingStrategy, strategy),
    )
    train(model, batches(rank))
    with FSDP1.summon_full_params(model):
        assert_as_alone(model.module)


@pytest.mark.parametrize("strategy", ["FULL_SHARD", "SHARD_GRAD_OP", "NO_SHARD"])
def test_fsdp1(world, strategy):
    """FSDP1 with use_orig_params, in three strategies."""
    world.run(fsdp1, strategy)


def plain_states(rank):
    expected = plain_state_dict(build())
    sharded = plain_state_dict(shard(build(), each_layer=True))
    model = FSDP1(build(), use_orig_params=True, device_id=torch.device("cpu"))
    for target in (model, nn.Sequential(model)):
        with pytest.raises(errors.ShardedWeight, match="inner module within FSDP.summon"):
            plain_state_dict(target)
    with FSDP1.summon_full_params(model):
        summoned = plain_state_dict(model.module)
        for state in (sharded, summoned):
            assert list(state) == list(expected)
            for name, value in expected.items():
                assert torch.equal(whole(state[name]), value), name


def test_plain_state_dicts(world):
    """Of FSDP2's shards, in shards; of what FSDP1 has flattened, when it is summoned."""
    world.run(plain_states)


def fsdp1_first(rank):
    model = FSDP1(Net(), use_orig_params=True, device_id=torch.device("cpu"))
    with pytest.raises(errors.ShardedWeight, match="before fully_shard"):
        equalize_lr(model)


def test_fsdp1_first_is_refused(world):
    """Equalizing what FSDP1 has flattened is refused."""
    world.run(fsdp1_first)
