"""`clip_grad_norm_`: the norm of the explicit gradients, in whichever form they are."""

from __future__ import annotations

from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from equalized_lr.handover.groups import parameters_of, scale_of
from equalized_lr.handover.scaled_steps import stored_steps_of


def clip_grad_norm_(
    optimizer: Optimizer,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Clips the gradients of an optimizer's parameters by the norm that the explicit form has.

    The gradient of a stored weight is c times that of the effective one. In the explicit form the
    total norm is therefore √(Σ c² ‖g‖²) over the gradients g of effective weights, and clipping by
    it does the same in all forms; `torch.nn.utils` would take every c as 1.

    Example:
        >>> layer = nn.Linear(200, 1, bias=False)
        >>> optimizer = implicit(torch.optim.Adam, layer, lr=1e-2)
        >>> layer(torch.ones(1, 200)).sum().backward()
        >>> clip_grad_norm_(optimizer, max_norm=1.0)  # 0.1 times the root of 200
        tensor(1.4142)
        >>> clip_grad_norm_(optimizer, max_norm=1.0)
        tensor(1.0000)

    Args:
        optimizer: of `implicit`, `param_groups`, `ScaledSteps` or hand-over, or of equalized
            models; groups without an "equalized_scale" count as they are.
        max_norm: the largest total norm.
        norm_type: of the norm, `inf` too.
        error_if_nonfinite: raise if the norm is not finite.
        foreach: as in `torch.nn.utils.clip_grad_norm_`.

    Returns:
        The total norm before clipping.

    Raises:
        RuntimeError: the norm is not finite, and `error_if_nonfinite` says so.
    """
    steps = stored_steps_of(optimizer)
    scales = steps.scales if steps else {}
    gradients: dict[float, list[Tensor]] = {}
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is not None:
                gradients.setdefault(scale_of(group) * scales.get(p, 1.0), []).append(p.grad)
    norms = [c * get_total_norm(own, norm_type, False, foreach) for c, own in gradients.items()]
    total = get_total_norm(norms, norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(parameters_of(optimizer), max_norm, total, foreach)
    return total
