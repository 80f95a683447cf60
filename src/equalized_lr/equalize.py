"""The public verbs: equalize, give back, ask."""

from __future__ import annotations

from typing import Literal, SupportsFloat, TypeVar

import torch
from torch import nn

from equalized_lr.arguments import refuse_non_module
from equalized_lr.errors import FixedClass, InvalidArgument
from equalized_lr.handover.handover import Optimizers, plan_handovers
from equalized_lr.layer.hook import scales_of
from equalized_lr.layer.subclass import attach, detach
from equalized_lr.layer.values import draw_normal, rescale
from equalized_lr.plan.checks import (
    refuse_attachment,
    refuse_division,
    refuse_draw,
    refuse_init,
)
from equalized_lr.plan.left_alone import is_look_up
from equalized_lr.plan.plan import Plan, Where, plan_equalizing, plan_removal
from equalized_lr.plan.rule import SQRT2, Gain, LrMul, Mode, Rule
from equalized_lr.plan.sharing import refuse_outside_holders, refuse_unwritable
from equalized_lr.plan.slots import Fans, Slot

Init = Literal["normal", "keep"]
M = TypeVar("M", bound=nn.Module)


def equalize_lr(
    module: M,
    name: str | None = None,
    *,
    gain: Gain = SQRT2,
    mode: Mode = "fan_in",
    lr_mul: LrMul = 1.0,
    init: Init = "normal",
    fan: SupportsFloat | None = None,
    fans: Fans | None = None,
    where: Where | None = None,
    generator: torch.Generator | None = None,
    optimizer: Optimizers = None,
) -> M:
    """Lets every layer compute with `weight = c * weight_orig`, so that all learn at one speed.

    Each weight is stored as w ~ N(0, 1) under the name `weight_orig`, and whenever `layer.weight`
    is read it is ŵ = c·w with c = gain / √fan, the standard deviation of He's initializer. Adam and
    RMSProp make steps of one size for all stored weights, which therefore all change at the same
    relative speed.

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
        gain: what makes up for the nonlinearity after the layer: a number, a name that
            `torch.nn.init.calculate_gain` knows, or the nonlinearity itself, a function or module:
            1 / sqrt(E f(z)^2) for z ~ N(0, 1). sqrt(2) is ReLU's.
        mode: "fan_in" keeps the variance of responses, "fan_out" that of gradients.
        lr_mul: StyleGAN's learning rate multiplier. w is then drawn from N(0, 1 / lr_mul**2) and c
            contains lr_mul; the layer's bias is stored as `bias_orig`, with c = lr_mul. A function
            gives it for each fan: `lambda fan: fan**-0.5` is muP's rate for hidden layers.
        init: "normal" draws w from N(0, 1 / lr_mul**2) and sets biases to zero (the paper's);
            "keep" stores w = weight / c, so that the function of a trained model stays.
        fan: the number of connections of the named parameter, in place of what `fans` says.
        fans: what is known beside what the function `fans` says, by plain qualified names, such
            as `observe(model, x)`. Where both speak of one weight, this one wins.
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
    plan = plan_equalizing(module, name, Rule.checked(gain, mode, lr_mul), where, fans, fan=fan)
    _check(plan, module, init, generator)
    if optimizer is not None and init != "keep":
        raise InvalidArgument("init", init, "'keep' where an optimizer is to go on")
    handovers = plan_handovers(optimizer, plan.scales, -1)
    _attach_all(plan)
    if init == "keep":
        rescale(plan.scales, -1)
    else:
        draw(plan, generator)
    for hand_over in handovers:
        hand_over()
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
    plan = plan_removal(module, name)
    refuse_unwritable(module, [share.slots[0] for share in plan.shares])
    refuse_outside_holders([share.slots for share in plan.shares])
    handovers = plan_handovers(optimizer, plan.scales, 1)
    for slot in plan.slots:
        detach(slot.module, slot.name)
    rescale(plan.scales, 1)
    for hand_over in handovers:
        hand_over()
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


def _check(plan: Plan, root: nn.Module, init: str, generator: torch.Generator | None) -> None:
    refuse_init(init)
    for share in plan.shares:
        for slot in share.slots:
            refuse_attachment(slot)
        if init == "keep":
            refuse_division(share.slots[0], share.scale)
        else:
            refuse_draw(share.slots[0], share.lr_mul, generator)
    refuse_unwritable(root, [share.slots[0] for share in plan.shares] + plan.plain_biases)
    refuse_outside_holders([share.slots for share in plan.shares])


def _attach_all(plan: Plan) -> None:
    attached: list[Slot] = []
    scales = [(slot, share.scale) for share in plan.shares for slot in share.slots]
    try:
        for slot, scale in scales:
            attach(slot.module, slot.name, scale)
            attached.append(slot)
    except BaseException as error:
        for slot in reversed(attached):
            detach(slot.module, slot.name)
        if isinstance(error, TypeError):
            slot, _ = scales[len(attached)]
            raise FixedClass(str(slot), type(slot.module).__name__, str(error)) from error
        raise


@torch.no_grad()
def draw(plan: Plan, generator: torch.Generator | None) -> None:
    """w ~ N(0, 1 / lr_mul**2) for weights, zero for biases and padding.

    Karras et al. 2018 (PGGAN), section 4.1, with lr_mul as in StyleGAN.
    """
    for share in plan.weights:
        draw_normal(share.parameter, 1.0 / share.lr_mul, generator)
    for bias in [share.slots[0] for share in plan.biases] + plan.plain_biases:
        bias.parameter.zero_()
    for slot in plan.slots:
        padding = slot.module.padding_idx if is_look_up(slot.module) else None
        if padding is not None:
            slot.parameter[padding] = 0.0
