"""A parameter and its gradient while a step sees other values, and how they come back."""

from collections.abc import Callable

import torch
from torch import Tensor

from equalized_lr.tensors import is_expanded


def to_stored(parameter: Tensor, c: float) -> Callable[[], None]:
    """Divides a parameter by c and multiplies its gradient by it; returns what undoes both.

    What is not changed meanwhile keeps its bits, element by element: rounding, or a stored value
    that overflows, does not change a weight that does not step.
    """
    weight, gradient = parameter.detach().clone(), parameter.grad
    parameter.copy_(weight / c)
    if gradient is not None and is_expanded(gradient):
        gradient = gradient.clone()
    stored = parameter.grad = None if gradient is None else gradient * c
    version = None if stored is None else stored._version

    def restore() -> None:
        same = parameter == weight / c
        parameter.copy_(torch.where(same, weight, parameter * c))
        now = parameter.grad
        if now is None:
            return
        restored = now / c
        if gradient is not None and now is stored:
            if now.layout is torch.strided:
                same = now == gradient * c
                restored = gradient.copy_(torch.where(same, gradient, restored))
            elif now._version == version:
                restored = gradient
        parameter.grad = restored

    return restore
