"""`LeftAlone`: which weights a whole-model call leaves alone because nobody knows their fan."""

from collections.abc import Sequence
from typing import Any, TypeGuard

import torch
from torch import nn

from equalized_lr.plan.fan import fans
from equalized_lr.plan.slots import Slot

SHOWN = 5


def _may_be_a_weight(slot: Slot) -> bool:
    if slot.parameter.ndim < 2:  # a lazy one counts as of one axis
        return False
    return not is_look_up(slot.module) and not is_norm(slot.module) and not _is_torchs(slot.module)


def is_look_up(module: nn.Module) -> TypeGuard[nn.Embedding | nn.EmbeddingBag]:
    """Whether a layer is an embedding."""
    return isinstance(module, nn.Embedding | nn.EmbeddingBag)


def is_norm(module: nn.Module) -> bool:
    """Whether a layer is a norm, by its name, so that its parameters are gains."""
    return "norm" in type(module).__name__.lower()


def _is_torchs(module: nn.Module) -> bool:
    containers = nn.ParameterList | nn.ParameterDict
    compiled = isinstance(module, torch.jit.ScriptModule)  # whose class says nothing
    return compiled or (_is_of_torch(type(module)) and not isinstance(module, containers))


def computes_its_own_way(module: nn.Module) -> bool:
    """Whether a subclass of a known layer has a forward of its own, which may scale, too."""
    return bool(fans(module)) and _has_own_forward(module)


def _has_own_forward(module: nn.Module) -> bool:
    kind: Any = getattr(type(module), "_plain_class", type(module))
    known: Any = next(base for base in kind.__mro__ if base in fans.registry or _is_of_torch(base))
    return bool(kind.forward is not known.forward)


def _is_of_torch(kind: type) -> bool:
    return kind.__module__.startswith("torch.nn.")


def left_alone(selected: Sequence[Slot], slots: Sequence[Slot]) -> str | None:
    """What a whole-model call should say of the slots that it does not understand, or None."""
    unknown = [slot for slot in selected if not slot.fan and _may_be_a_weight(slot)]
    if unknown:
        known = {id(slot.find()) for slot in slots if slot.fan or slot.scale is not None}
        unknown = [slot for slot in unknown if id(slot.find()) not in known]
    own = {
        slot.path: slot
        for slot in selected
        if slot.path and slot.fan and slot.scale is None and _has_own_forward(slot.module)
    }
    sentences = []
    if unknown:
        total = sum(slot.parameter.numel() for slot in slots if slot.find() is not None)
        share = sum(slot.parameter.numel() for slot in unknown) / max(total, 1)
        sentences.append(
            f"{len(unknown)} parameter(s) of two or more axes, {share:.0%} of the model's numbers, "
            f"are left alone, since nobody knows their fan: {_listing(unknown)}. Find it from an "
            "example, equalize_lr(model, fans=observe(model, x)), register the layer type with "
            "fans.register, or leave them out with where=."
        )
    if own:
        sentences.append(
            f"{len(own)} layer(s) of known kinds have a forward of their own, and may scale their "
            f"weight already: {_listing(list(own.values()))}. fans=observe(model, x) looks."
        )
    return " ".join(sentences) or None


def _listing(slots: Sequence[Slot]) -> str:
    more = f" and {len(slots) - SHOWN} more" if len(slots) > SHOWN else ""
    return ", ".join(map(str, slots[:SHOWN])) + more
