"""What a forward leaves behind."""

import gc

import torch
from torch import nn

from tests.support.mechanisms import close, common_hook, x


class Fragile(nn.Linear):
    """Fails after it has computed."""

    fails = False

    def forward(self, inputs):
        out = super().forward(inputs)
        if self.fails:
            raise ArithmeticError
        return out


@common_hook("silent")
def test_an_exception_in_forward(mechanism):
    """What a failed forward computed is not what a later read sees."""
    model, plain = mechanism.twins(Fragile(6, 3))
    mechanism.assert_alike(model, plain, x())
    for twin in (model, plain):
        twin.fails = True
        try:
            twin(x())
        except ArithmeticError:
            twin.fails = False
        with torch.no_grad():
            for _, parameter, c in mechanism.stored(twin):
                parameter.add_(0.25 / c)
    assert not model.fails
    close(model.weight, plain.weight)


@common_hook("silent")
def test_memory_after_a_step(mechanism):
    """After forward and backward nothing is alive but parameters and gradients."""
    model, plain = mechanism.twins(nn.Linear(6, 17))
    mechanism.assert_alike(model, plain, x())
    model.zero_grad(set_to_none=True), plain.zero_grad(set_to_none=True)
    counts = []
    for _ in range(2):
        model(x()).sum().backward()
        model.zero_grad(set_to_none=True)
        counts.append(weights_alive())
    assert counts == [2, 2]  # the stored weight, and the plain twin's


def weights_alive():
    gc.collect()
    tensors = [o for o in gc.get_objects() if issubclass(type(o), torch.Tensor)]
    return sum(1 for tensor in tensors if tensor.shape == (17, 6))
