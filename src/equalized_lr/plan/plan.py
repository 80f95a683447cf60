"""Which parameters a call means, and their scales: all is decided before anything is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from equalized_lr.errors import (
    AlreadyEqualized,
    ConflictingTie,
    NothingToEqualize,
    TiedToEqualized,
    UnknownFan,
    UnknownParameter,
)
from equalized_lr.layer.hook import scales_of, stored_name
from equalized_lr.plan.checks import refuse_owned, refuse_without_fan
from equalized_lr.plan.fan import Fan, fans
from equalized_lr.plan.rule import Rule
from equalized_lr.plan.sharing import Slot, tied_slots

Where = Callable[[str, nn.Module], bool]


@dataclass(frozen=True)
class Share:
    """One Parameter to be scaled by one constant, in all the places where it is held.

    Attributes:
        scale: the constant c.
        slots: the places.
        lr_mul: the part of c that the stored values make up for when they are drawn.
    """

    scale: float
    slots: list[Slot]
    lr_mul: float = 1.0

    @property
    def parameter(self) -> nn.Parameter:
        """The Parameter; not kept, since references to it are counted (see `holders`)."""
        return self.slots[0].parameter


@dataclass(frozen=True)
class Plan:
    """What a call means.

    Attributes:
        weights: the Parameters whose scale comes from their fan.
        biases: the biases that go with them, if lr_mul is to scale those.
        plain_biases: the biases that go with them and are not scaled.
    """

    weights: list[Share]
    biases: list[Share]
    plain_biases: list[Slot]

    @property
    def shares(self) -> list[Share]:
        """All that is to be scaled."""
        return self.weights + self.biases


def plan_model(root: nn.Module, rule: Rule, where: Where | None) -> Plan:
    """Every weight that `fans` knows in a tree of modules, but for those equalized already."""
    wanted = [
        (slot, fan)
        for path, module in root.named_modules()
        if where is None or where(path, module)
        for slot, fan in _plain_weights(path, module)
    ]
    return _plan(root, rule, wanted)


def plan_parameter(module: nn.Module, rule: Rule, name: str) -> Plan:
    """One parameter of the module itself, and the bias that goes with it."""
    kind, slot = type(module).__name__, Slot("", module, name)
    if name in scales_of(module):
        raise AlreadyEqualized(name, kind, scales_of(module)[name])
    refuse_owned(slot)
    if module._parameters.get(name) is None:
        held = [key for key, value in module._parameters.items() if value is not None]
        raise UnknownParameter(name, kind, held)
    refuse_without_fan(slot)
    fan = fans(module).get(name)
    if rule.fan is not None:
        fan = Fan(rule.fan, rule.fan, fan and fan.bias)
    if fan is None:
        raise UnknownFan(name, kind)
    return _plan(module, rule, [(slot, fan)])


def refuse_empty(plan: Plan, root: nn.Module) -> None:
    """Raises `NothingToEqualize` where a whole-model call would do nothing."""
    if not plan.weights:
        raise NothingToEqualize(type(root).__name__, sum(map(len, map(scales_of, root.modules()))))


def bias_of(module: nn.Module, name: str, fan: Fan | None = None) -> str | None:
    """The plain name of the bias that belongs to a weight, if the layer has one."""
    fan = fan or fans(module).get(name)
    bias = (fan and fan.bias) or name.replace("weight", "bias")
    has = module._parameters.get(bias) is not None or bias in scales_of(module)
    return bias if has and bias != name else None


def group(needs: Iterable[Share]) -> list[Share]:
    """Gathers the places of each Parameter, whose scales must agree."""
    shares: dict[Tensor, Share] = {}
    for need in needs:
        share = shares.setdefault(need.parameter, need)
        if share.scale != need.scale:
            raise ConflictingTie([(str(s.slots[0]), s.scale) for s in (share, need)])
        if share is not need:
            share.slots.extend(need.slots)
    return list(shares.values())


def _plain_weights(path: str, module: nn.Module) -> Iterator[tuple[Slot, Fan]]:
    for name, fan in fans(module).items():
        slot = Slot(path, module, name)
        if name not in scales_of(module):
            refuse_owned(slot)
            if module._parameters.get(name) is not None:
                refuse_without_fan(slot)
                yield slot, fan


def _plan(root: nn.Module, rule: Rule, wanted: list[tuple[Slot, Fan]]) -> Plan:
    weights, biases, plain_biases = [], [], []
    for slot, fan in wanted:
        lr_mul = rule.multiplier(fan)
        weights.append(Share(rule.scale(fan), [slot], lr_mul))
        bias = _plain_bias(slot, fan, lr_mul)
        if bias and lr_mul != 1:
            biases.append(Share(lr_mul, [bias]))
        elif bias:
            plain_biases.append(bias)
    slots = tied_slots(root)
    return Plan(
        [_everywhere(share, slots) for share in group(weights)],
        [_everywhere(share, slots) for share in group(biases)],
        plain_biases,
    )


def _plain_bias(slot: Slot, fan: Fan, lr_mul: float) -> Slot | None:
    name = bias_of(slot.module, slot.name, fan)
    scale = scales_of(slot.module).get(name) if name else None
    if name is None or scale == lr_mul:
        return None
    if scale is not None:
        raise AlreadyEqualized(name, type(slot.module).__name__, scale)
    return Slot(slot.path, slot.module, name)


def _everywhere(share: Share, slots: dict[Tensor, list[Slot]]) -> Share:
    """The share with all the places that hold its Parameter, such as a tied embedding."""
    everywhere = slots.get(share.parameter)
    if everywhere is None:
        return share
    for slot in everywhere:
        for name, scale in scales_of(slot.module).items():
            if stored_name(name) == slot.name:
                raise TiedToEqualized(str(share.slots[0]), str(slot), scale)
    return Share(share.scale, everywhere, share.lr_mul)
