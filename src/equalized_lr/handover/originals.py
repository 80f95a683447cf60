"""A parameter and its gradient while a step sees other values, and how they come back."""

from __future__ import annotations

import torch
from torch import Tensor

from equalized_lr.tensors import is_expanded


class Original:
    """The effective weight and gradient of a parameter that holds the stored ones for a while.

    What is not changed meanwhile keeps its bits, element by element: rounding, or a stored value
    that overflows, does not change a weight that does not step.
    """

    def __init__(self, parameter: Tensor, c: float) -> None:
        """Divides the parameter by c and multiplies its gradient by it."""
        self._parameter, self._c = parameter, c
        self._weight = parameter.detach().clone()
        parameter.copy_(self._weight / c)
        self._gradient = gradient = parameter.grad
        if gradient is not None:
            if is_expanded(gradient):
                self._gradient = gradient.clone()
            self._stored = parameter.grad = gradient * c
            self._version = self._stored._version

    def restore(self) -> None:
        """Multiplies by c what the step made of the parameter, and divides its gradient."""
        parameter, c = self._parameter, self._c
        same = parameter == self._weight / c
        parameter.copy_(torch.where(same, self._weight, parameter * c))
        gradient, original = parameter.grad, self._gradient
        if gradient is None:
            return
        restored = gradient / c
        if original is not None and gradient is self._stored:
            if gradient.layout is torch.strided:
                same = gradient == original * c
                restored = original.copy_(torch.where(same, original, restored))
            elif gradient._version == self._version:
                restored = original
        parameter.grad = restored
