"""Which Parameters a call means, and their scales: decided before anything is touched."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import SupportsFloat, cast

from torch import Tensor, nn

from equalized_lr.arguments import positive, refuse_non_module
from equalized_lr.errors import (
    AlreadyEqualized,
    InvalidArgument,
    LeftAlone,
    NotEqualized,
    NothingToEqualize,
    UnknownFan,
    UnknownParameter,
)
from equalized_lr.layer.hook import scales_of
from equalized_lr.plan.checks import (
    refuse_converted,
    refuse_detachment,
    refuse_empty,
    refuse_owned,
    refuse_wrapper,
)
from equalized_lr.plan.fan import Fan
from equalized_lr.plan.left_alone import left_alone
from equalized_lr.plan.rule import Rule
from equalized_lr.plan.sharing import Share, merge, with_all_places
from equalized_lr.plan.slots import Fans, Slot, bias_of, slots_of

Where = Callable[[str, nn.Module], bool]


@dataclass(frozen=True)
class Plan:
    """What a call means.

    Attributes:
        weights: the Parameters whose scale comes from their fan.
        biases: the biases that go with them and are scaled, too.
        plain_biases: the biases that go with them and are not scaled.
    """

    weights: list[Share]
    biases: list[Share]
    plain_biases: list[Slot]

    @property
    def shares(self) -> list[Share]:
        """All that is to be scaled."""
        return self.weights + self.biases

    @property
    def slots(self) -> list[Slot]:
        """All places of what is to be scaled."""
        return [slot for share in self.shares for slot in share.slots]

    @property
    def scales(self) -> dict[Tensor, float]:
        """The constant of each Parameter."""
        return {share.parameter: share.scale for share in self.shares}


def plan_equalizing(
    root: nn.Module,
    name: str | None,
    rule: Rule,
    where: Where | None,
    fans: Fans | None = None,
    *,
    fan: SupportsFloat | None = None,
) -> Plan:
    """What `equalize_lr` means by its arguments.

    Raises:
        EqualizedLRError: nothing is meant, or something that has no scale.
    """
    refuse_non_module(root)
    refuse_wrapper(root)
    if name is not None:
        if not isinstance(cast(object, name), str):
            expected = "a parameter's name; gain=, optimizer= and all others go by their names"
            raise InvalidArgument("name", type(name).__name__, expected)
        if where is not None:
            raise InvalidArgument("where", where, "None where one parameter is named")
        return plan_parameter(root, rule, name, fans, fan)
    if fan is not None:
        raise InvalidArgument("fan", fan, "None in a whole-model call: it goes with name=")
    plan = plan_model(root, rule, where, fans)
    if not plan.weights:
        refuse_converted(root)
        equalized = sum(map(len, map(scales_of, root.modules())))
        raise NothingToEqualize(type(root).__name__, equalized)
    return plan


def plan_model(root: nn.Module, rule: Rule, where: Where | None, fans: Fans | None = None) -> Plan:
    """Every weight of known fan in a tree of modules, but for those equalized already."""
    slots = list(slots_of(root, fans))
    selected = [slot for slot in slots if where is None or where(slot.path, slot.module)]
    weights = [slot for slot in selected if slot.fan and slot.scale is None]
    for slot in weights:
        refuse_owned(slot)
        refuse_empty(slot)
    if fans is None and (remark := left_alone(selected, slots)):
        warnings.warn(remark, LeftAlone, stacklevel=4)
    return _plan(slots, rule, weights)


def plan_parameter(
    module: nn.Module,
    rule: Rule,
    name: str,
    fans: Fans | None = None,
    fan: SupportsFloat | None = None,
) -> Plan:
    """One parameter of the module itself, and the bias that goes with it."""
    kind, slots = type(module).__name__, list(slots_of(module, fans))
    slot = next((slot for slot in slots if (slot.path, slot.name) == ("", name)), None)
    if slot is None:
        refuse_converted(module)
        own = [slot.name for slot in slots if slot.path == ""]
        raise UnknownParameter(name, kind, own)
    if slot.scale is not None:
        raise AlreadyEqualized(name, kind, slot.scale)
    refuse_owned(slot)
    refuse_empty(slot)
    if fan is not None:
        number = positive("fan", fan)
        slot = slot._replace(fan=Fan(number, number, slot.fan and slot.fan.bias))
    if slot.fan is None:
        raise UnknownFan(name, kind)
    return _plan(slots, rule, [slot])


def _plan(slots: Sequence[Slot], rule: Rule, wanted: Iterable[Slot]) -> Plan:
    weights, biases, plain_biases = [], [], []
    for slot in wanted:
        assert slot.fan is not None
        lr_mul = rule.multiplier(slot.fan)
        weights.append(Share(rule.scale(slot.fan), [slot], lr_mul))
        bias = _plain_bias(slot, lr_mul)
        if bias and lr_mul != 1:
            biases.append(Share(lr_mul, [bias]))
        elif bias:
            plain_biases.append(bias)
    return Plan(
        with_all_places(merge(weights), slots), with_all_places(merge(biases), slots), plain_biases
    )


def _plain_bias(slot: Slot, lr_mul: float) -> Slot | None:
    name = bias_of(slot)
    if name is None or (scale := scales_of(slot.module).get(name)) == lr_mul:
        return None
    if scale is not None:
        raise AlreadyEqualized(name, type(slot.module).__name__, scale)
    return Slot(slot.path, slot.module, name)


def plan_removal(root: nn.Module, name: str | None) -> Plan:
    """What `remove_equalized_lr` means: all equalized weights, or one with its bias and its ties.

    Raises:
        NotEqualized: there is nothing to remove.
        EqualizedLRError: another subclass, where something keeps a weight from being removed.
    """
    refuse_non_module(root)
    equalized = [slot for slot in slots_of(root) if slot.scale is not None]
    for slot in equalized:
        refuse_detachment(slot)
    shares = merge(Share(slot.scale, [slot]) for slot in equalized if slot.scale is not None)
    if name is not None:
        names = _removed_with(name, equalized)
        shares = [s for s in shares if any(t.path == "" and t.name in names for t in s.slots)]
    if not shares:
        kind = type(root).__name__
        raise NotEqualized(f"this {kind}" if name is None else f"'{name}' of this {kind}")
    return Plan(shares, [], [])


def _removed_with(name: str, equalized: Sequence[Slot]) -> set[str]:
    """The name and that of its equalized bias, unless another equalized weight needs the bias."""
    own = {slot.name: bias_of(slot) for slot in equalized if slot.path == ""}
    names = {name} & own.keys()
    bias = own.get(name)
    others = [own[key] for key in own if key not in (name, bias)]
    return names | ({bias} if bias in own and bias not in others else set())
