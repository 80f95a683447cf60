"""Tensors that are distributed over processes, without importing what distributes them."""

from __future__ import annotations

import gc
import sys
from typing import Any, cast

from torch import Tensor


def is_dtensor(tensor: object) -> bool:
    """Whether a tensor is a DTensor, of tensor parallelism or of FSDP2."""
    tensors = sys.modules.get("torch.distributed.tensor")
    return tensors is not None and isinstance(tensor, tensors.DTensor)


def fsdp2_is_in_use() -> bool:
    """Whether `fully_shard` has ever been applied in this process."""
    fsdp = sys.modules.get("torch.distributed.fsdp")
    kind = getattr(fsdp, "FSDPModule", None)  # each sharded class is a subclass of its own
    return kind is not None and bool(kind.__subclasses__())


def is_fsdp1(module: object) -> bool:
    """Whether a module is FSDP1's wrapper, which flattens the Parameters of the one inside."""
    fsdp = sys.modules.get("torch.distributed.fsdp")
    return fsdp is not None and isinstance(module, fsdp.FullyShardedDataParallel)


def is_held_by_fsdp(parameter: Tensor) -> bool:
    """Whether FSDP has bound a parameter's shards to its name, or its view of them."""
    if getattr(parameter, "_fsdp_flattened", False):  # FSDP1
        return True
    # FSDP2's DTensors look like those of tensor parallelism, so their keeper is searched for.
    return (
        is_dtensor(parameter)
        and fsdp2_is_in_use()
        and any(
            type(keeper).__name__ == "FSDPParam" and keeper.sharded_param is parameter
            for keeper in gc.get_objects()
        )
    )


def distribute_like(tensor: Tensor, parameter: Tensor) -> Tensor:
    """The first process's tensor, distributed as a DTensor is."""
    tensors = sys.modules["torch.distributed.tensor"]
    like = cast(Any, parameter)
    return cast(Tensor, tensors.distribute_tensor(tensor, like.device_mesh, like.placements))
