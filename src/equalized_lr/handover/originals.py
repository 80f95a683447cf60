"""A parameter and its gradient while a step sees other values, and how they come back."""

from __future__ import annotations

import torch
from torch import Tensor


class Original:
    """The effective weight and gradient of a parameter that holds the stored ones for a while.

    What is not changed meanwhile keeps its bits, element by element: rounding, or a stored value
    that overflows, does not change a weight that does not step.
    """

    def __init__(self, parameter: Tensor, c: float) -> None:
        """Divides the parameter by c and multiplies its gradient by it."""
        self._parameter, self._c = parameter, c
        self._weight = parameter.detach().clone()
        self._gradient = parameter.grad
        parameter.copy_(self._weight / c)
        if self._gradient is not None:
            if _overlaps(self._gradient):  # cannot be written into
                self._gradient = self._gradient.clone()
            parameter.grad = self._gradient * c
        self._stored_gradient = parameter.grad
        self._version = parameter.grad._version if parameter.grad is not None else 0

    def restore(self) -> None:
        """Multiplies by c what the step made of the parameter, and divides its gradient."""
        parameter, c = self._parameter, self._c
        same = parameter == self._weight / c
        parameter.copy_(torch.where(same, self._weight, parameter * c))
        gradient = parameter.grad
        if gradient is None:
            return
        if gradient is not self._stored_gradient or self._gradient is None:
            parameter.grad = gradient / c
        elif gradient.layout is torch.strided:
            same = gradient == self._gradient * c
            self._gradient.copy_(torch.where(same, self._gradient, gradient / c))
            parameter.grad = self._gradient
        else:
            same_version = gradient._version == self._version
            parameter.grad = self._gradient if same_version else gradient / c


def _overlaps(tensor: Tensor) -> bool:
    if tensor.layout is not torch.strided:
        return False
    return any(n > 1 and step == 0 for n, step in zip(tensor.shape, tensor.stride(), strict=True))
