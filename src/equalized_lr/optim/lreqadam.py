"""LREQAdam, the optimizer of ALAE: plain weights, and steps multiplied by c."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from equalized_lr.arguments import positive
from equalized_lr.errors import InvalidArgument
from equalized_lr.handover.groups import OLD_SCALE, SCALE, scale_of
from equalized_lr.handover.guard import guard, refuse_other_form
from equalized_lr.handover.powers import POWERS, Powers
from equalized_lr.handover.stepping import not_compiled


class LREQAdam(Optimizer):
    """ALAE's optimizer by its published rule: Adam without first moment, steps times c.

    With a group's "equalized_scale" c, and t counting the steps of a parameter p with gradient g::

        v ← β₂ v + (1 − β₂) g²
        p ← p − lr · c · √(1 − β₂ᵗ) · g / (√v + ε)

    `implicit(LREQAdam, model, lr=...)` builds it with the constants of `he_scales`. For
    ε → 0 it is Adam with betas (0, beta2) in the explicit form;
    `docs/lreqadam.md` says where the two differ, and by how much.

    Example:
        >>> layer = nn.Linear(200, 3, bias=False)
        >>> optimizer = LREQAdam([{"params": [layer.weight], "equalized_scale": 0.1}], lr=0.01)
        >>> before = layer.weight.detach().clone()
        >>> layer(torch.ones(1, 200)).sum().backward()
        >>> optimizer.step()
        >>> torch.allclose(before - layer.weight, torch.tensor(0.01 * 0.1))
        True

    Args:
        params: parameters or groups; a group's "equalized_scale" is its c, 1 where it has none.
        lr: the learning rate, of the stored weight p / c.
        betas: the first must be 0, as in the published code.
        eps: added to the root of the uncorrected v.
        weight_decay: of the stored weight p / c, as Adam's is in the explicit form: the gradient
            becomes g + weight_decay / c**2 * p. (The published code meant to add
            weight_decay / c * p, but fails with an AttributeError.) To penalize p itself, give
            each group weight_decay times c**2.
        maximize: ascend instead.

    Raises:
        InvalidArgument: betas[0] is not zero, or another number is out of its range.

    Pidhorskyi et al. 2020, "Adversarial Latent Autoencoders", and its published code.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.0, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        numbers = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**numbers, "maximize": maximize, SCALE: 1.0})
        self.register_load_state_dict_pre_hook(refuse_other_form)
        if any(scale_of(group) != 1 for group in self.param_groups):
            guard(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:  # of a file that has c under its old name
            group.setdefault(SCALE, group.pop(OLD_SCALE, 1.0))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As in every optimizer of torch; the group's numbers are checked."""
        if OLD_SCALE in param_group:
            param_group.setdefault(SCALE, param_group.pop(OLD_SCALE))
        group = {**self.defaults, **param_group}
        for name in ("lr", "eps", "weight_decay"):
            if not group[name] >= 0:
                raise InvalidArgument(name, group[name], "a number that is not negative")
        positive(SCALE, group[SCALE])
        first, second = group["betas"]
        if not (first == 0 and 0 <= second < 1):
            expected = "0 (there is no momentum), and a number from 0 to less than 1"
            raise InvalidArgument("betas", group["betas"], expected)
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step by the gradients that there are; `closure` computes them anew, if given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step_group(group)
        return loss

    @not_compiled
    def _step_group(self, group: dict[str, Any]) -> None:
        owners = [p for p in group["params"] if p.grad is not None]
        if not owners:
            return
        for p in owners:
            if p.grad.is_sparse:
                raise RuntimeError("LREQAdam does not support sparse gradients")
            if not self.state[p]:
                self.state[p] = {"step": torch.tensor(0.0), "exp_avg_sq": torch.zeros_like(p)}
        steps = [self.state[p]["step"] for p in owners]
        squares = [_real(self.state[p]["exp_avg_sq"]) for p in owners]
        params, grads = [_real(p) for p in owners], [_real(p.grad) for p in owners]
        lr, beta2, scale = float(group["lr"]), group["betas"][1], group[SCALE]
        torch._foreach_add_(steps, 1.0)
        if group["maximize"]:
            grads = list(torch._foreach_neg(grads))
        if group["weight_decay"]:
            grads = list(torch._foreach_add(grads, params, alpha=group["weight_decay"] / scale**2))
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, grads, grads, value=1 - beta2)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_add_(roots, group["eps"])
        rates = [-lr * scale * math.sqrt(1 - beta2 ** step.item()) for step in steps]
        torch._foreach_addcdiv_(params, grads, roots, rates)


def _real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


POWERS[LREQAdam] = Powers(
    lr=0,
    others={"eps": -1, "weight_decay": 0},
    state={"step": 0, "exp_avg_sq": -2},
    by_scale=True,
)
