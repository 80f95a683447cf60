"""The public verbs: equalize, give back, ask."""

from __future__ import annotations

from typing import SupportsFloat, TypeVar

import torch
from torch import Tensor, nn

from equalized_lr.errors import FixedClass, InvalidArgument, NotEqualized
from equalized_lr.handover.handover import Optimizers, plan_handovers
from equalized_lr.layer.hook import scales_of
from equalized_lr.layer.subclass import attach, detach, refuse_if_wrapped_on_top
from equalized_lr.plan.checks import (
    refuse_non_module,
    refuse_offloaded,
    refuse_owned,
    refuse_sharded,
    refuse_unstorable,
)
from equalized_lr.plan.memory import refuse_unwritable
from equalized_lr.plan.plan import (
    Plan,
    Share,
    Where,
    bias_of,
    group,
    plan_model,
    plan_parameter,
    refuse_empty,
)
from equalized_lr.plan.rule import SQRT2, Gain, LrMul, Rule
from equalized_lr.plan.sharing import Slot, refuse_outside_holders
from equalized_lr.plan.values import bake, draw, keep, refuse_values

M = TypeVar("M", bound=nn.Module)


def equalize_lr(
    module: M,
    name: str | None = None,
    *,
    gain: Gain = SQRT2,
    mode: str = "fan_in",
    lr_mul: LrMul = 1.0,
    init: str = "normal",
    fan: SupportsFloat | None = None,
    where: Where | None = None,
    generator: torch.Generator | None = None,
    optimizer: Optimizers = None,
) -> M:
    r"""Lets every layer compute with `weight = c * weight_orig`, so that all learn at one speed.

    Each weight is stored as :math:`w \sim N(0, 1)` under the name `weight_orig`, and whenever
    `layer.weight` is read it is :math:`\hat w = c w` with :math:`c = gain / \sqrt{fan}`, the
    standard deviation of He's initializer. Adam and RMSProp make steps of one size for all stored
    weights, which therefore all change at the same relative speed.

    Without a name, every weight that `fans` knows is equalized, in the module and all its
    descendants, except for layers that are equalized already: exceptions come first.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(1))
        >>> _ = net(torch.randn(4, 3, 8, 8))
        >>> _ = equalize_lr(net[3], gain=1.0)
        >>> _ = equalize_lr(net)
        >>> [name for name, _ in net.named_parameters()]
        ['0.weight_orig', '0.bias', '3.weight_orig', '3.bias']
        >>> torch.equal(net[0].weight, math.sqrt(2 / 27) * net[0].weight_orig)
        True

    Args:
        module: the layer or model. It is changed in place and returned.
        name: one parameter of `module` itself, of any shape; `None` for all weights in the tree.
        gain: what makes up for the nonlinearity after the layer: a number, or a name that
            `torch.nn.init.calculate_gain` knows. sqrt(2) is ReLU's.
        mode: "fan_in" keeps the variance of responses, "fan_out" that of gradients.
        lr_mul: StyleGAN's learning rate multiplier. w is then drawn from N(0, 1 / lr_mul**2) and c
            contains lr_mul; the layer's bias is stored as `bias_orig`, with c = lr_mul. A function
            gives it for each fan: `lambda fan: fan**-0.5` is muP's rate for hidden layers.
        init: "normal" draws w from N(0, 1 / lr_mul**2) and sets biases to zero (the paper's);
            "keep" stores w = weight / c, so that the function of a trained model stays.
        fan: the number of connections of the named parameter, in place of what `fans` says.
        where: called as `where(qualified_module_name, module)`; only layers for which it is true
            are equalized. A Parameter that several layers share is equalized in all of them.
        generator: for the draws of "normal".
        optimizer: one that trains the module already, or several, with init="keep": groups and
            state are translated in place, and training goes on exactly as it would have, be it
            plain training or that of the implicit form (see `equalized_lr.optim`).

    Returns:
        The same module.

    Raises:
        EqualizedLRError: a subclass that says what is wrong and what to do (see
            `equalized_lr.errors`). The module is then exactly as it was.

    The constant is that of He et al. 2015 (equations 10 and 14); applying it at run time is Karras
    et al. 2018, "Progressive Growing of GANs", section 4.1.
    """
    rule = Rule.checked(gain, mode, lr_mul, fan)
    plan = _plan(module, name, rule, where)
    for slot in (slot for share in plan.shares for slot in share.slots):
        refuse_owned(slot)
        refuse_unstorable(slot)
    refuse_values(plan, init, generator)
    refuse_unwritable(module, [share.slots[0] for share in plan.shares] + plan.plain_biases)
    refuse_outside_holders([share.slots for share in plan.shares])
    if optimizer is not None and init != "keep":
        raise InvalidArgument("init", init, "'keep' where an optimizer is to go on")
    handovers = plan_handovers(optimizer, _constants(plan.shares), -1)
    _attach_all(plan.shares)
    if init == "normal":
        draw(plan, generator)
    else:
        keep(plan)
    for handover in handovers:
        handover.apply()
    return module


def remove_equalized_lr(
    module: M,
    name: str | None = None,
    *,
    optimizer: Optimizers = None,
) -> M:
    """Gives plain weights back: each holds the effective values, as if never equalized.

    The Parameter objects stay the same and go back to their name and position; class, hooks, repr
    and the keys of the state_dict are those of the plain model.

    Example:
        >>> layer = equalize_lr(nn.Linear(8, 2))
        >>> effective = layer.weight.detach()
        >>> remove_equalized_lr(layer)
        Linear(in_features=8, out_features=2, bias=True)
        >>> torch.equal(layer.weight, effective)
        True

    Args:
        module: the layer or model. It is changed in place and returned.
        name: the plain name of one parameter of `module` itself, given back together with the bias
            that was equalized with it; `None` for all in the tree.
        optimizer: one that trains the module, or several: groups and state are translated in
            place, and training goes on exactly as it would have, in the implicit form (see
            `equalized_lr.optim`).

    Returns:
        The same module.

    Raises:
        NotEqualized: nothing to remove.
        ShardedWeight: the model was sharded after it was equalized.
        OffloadedWeight: accelerate has offloaded the weights.
        WrappedOnTop: something else was put on top of an equalized layer.
        TiedElsewhere: a layer outside of `module` shares one of the weights.
        EqualizedLRError: another subclass, where `optimizer` cannot be translated.
    """
    refuse_non_module(module)
    shares = _equalized_shares(module, name)
    if not shares:
        kind = type(module).__name__
        raise NotEqualized(f"this {kind}" if name is None else f"'{name}' of this {kind}")
    refuse_unwritable(module, [share.slots[0] for share in shares])
    refuse_outside_holders([share.slots for share in shares])
    handovers = plan_handovers(optimizer, _constants(shares), 1)
    for slot in (slot for share in shares for slot in share.slots):
        detach(slot.module, slot.name)
    bake(shares)
    for handover in handovers:
        handover.apply()
    return module


def is_equalized(module: nn.Module, name: str | None = None) -> bool:
    """Whether the module itself has an equalized parameter, or one of that plain name.

    As `torch.nn.utils.parametrize.is_parametrized`: the module's children are not looked at.

    Example:
        >>> is_equalized(equalize_lr(nn.Linear(8, 2)), "weight")
        True
        >>> is_equalized(nn.Linear(8, 2))
        False
    """
    refuse_non_module(module)
    return bool(scales_of(module)) if name is None else name in scales_of(module)


def _plan(module: nn.Module, name: str | None, rule: Rule, where: Where | None) -> Plan:
    refuse_non_module(module)
    if name is None:
        if rule.fan is not None:
            raise InvalidArgument("fan", rule.fan, "None in a whole-model call: it goes with name=")
        plan = plan_model(module, rule, where)
        refuse_empty(plan, module)
        return plan
    if where is not None:
        raise InvalidArgument("where", where, "None where one parameter is named")
    return plan_parameter(module, rule, name)


def _constants(shares: list[Share]) -> dict[Tensor, float]:
    return {share.parameter: share.scale for share in shares}


def _attach_all(shares: list[Share]) -> None:
    slots = [(slot, share.scale) for share in shares for slot in share.slots]
    for done, (slot, scale) in enumerate(slots):
        try:
            attach(slot.module, slot.name, scale)
        except BaseException as error:
            for other, _ in reversed(slots[:done]):
                detach(other.module, other.name)
            if isinstance(error, TypeError):
                kind = type(slot.module).__name__
                raise FixedClass(str(slot), kind, str(error)) from error
            raise


def _equalized_shares(root: nn.Module, name: str | None) -> list[Share]:
    needs = [
        Share(scale, [Slot(path, module, key)])
        for path, module in root.named_modules()
        for key, scale in scales_of(module).items()
    ]
    for slot in (share.slots[0] for share in needs):
        refuse_sharded(slot)
        refuse_if_wrapped_on_top(slot.module, slot.name, str(slot))
        refuse_offloaded(slot)
    shares = group(needs)
    if name is None:
        return shares
    named = [(root, key) for key in _given_back_with(root, name)]
    return [s for s in shares if any((slot.module, slot.name) in named for slot in s.slots)]


def _given_back_with(module: nn.Module, name: str) -> list[str]:
    """The name and that of its equalized bias, unless another equalized weight needs the bias."""
    names = [key for key in scales_of(module) if key == name]
    bias = bias_of(module, name)
    if names and bias in scales_of(module):
        others = [key for key in scales_of(module) if key not in (name, bias)]
        names += [bias] if bias not in [bias_of(module, key) for key in others] else []
    return names
