"""What keeps a translated optimizer translated: when groups join it, and when a state is loaded."""

import functools
import types
from typing import Any

from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from equalized_lr.errors import OtherForm, UnknownScale
from equalized_lr.handover.groups import OLD_SCALE, SCALE, Group, scale_of
from equalized_lr.handover.scaled_steps import stored_steps_of


def guard(optimizer: Optimizer) -> None:
    """Lets an optimizer refuse groups and states that would undo its translation."""
    guard_copies()
    for group in optimizer.param_groups:
        group.setdefault(SCALE, 1.0)
    if "_guarded" in vars(optimizer):
        return
    add_group = optimizer.add_param_group

    def add_param_group(self: Optimizer, param_group: Group) -> None:
        if SCALE not in param_group:
            raise UnknownScale(type(self).__name__)
        add_group(param_group)
        if steps := stored_steps_of(self):
            steps.add({})

    bound = types.MethodType(add_param_group, optimizer)
    vars(optimizer).update(add_param_group=bound, _guarded=True)
    optimizer.register_load_state_dict_pre_hook(refuse_other_form)


@functools.cache
def guard_copies() -> None:
    """Refuses each step of an optimizer, of whoever made it, some of whose groups have no c.

    Copies of a guarded optimizer, and those made of `param_groups`, are guarded by this alone.
    """
    register_optimizer_step_pre_hook(_refuse_groups_without_scale)


def _refuse_groups_without_scale(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    if len({SCALE in group for group in optimizer.param_groups}) > 1:
        raise UnknownScale(type(optimizer).__name__)


def refuse_other_form(optimizer: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
    """Raises `OtherForm` unless a state_dict is of the form that the optimizer has.

    Groups that were saved under the old name of c get the new one, where they are known to be
    ours: their c is the one that the group has now.
    """
    saved = [dict(group) for group in state_dict["param_groups"]]
    for group, theirs in zip(optimizer.param_groups, saved, strict=False):  # torch compares lengths
        own = scale_of(group)
        if SCALE not in theirs and theirs.get(OLD_SCALE) == own:
            theirs[SCALE] = theirs.pop(OLD_SCALE)
        scale = theirs.setdefault(SCALE, 1.0)
        if (own == 1) != (scale == 1):
            raise OtherForm(type(optimizer).__name__, scale, own)
    return {**state_dict, "param_groups": saved}
