"""What the tests mean by "the same"."""

import torch
from torch import nn

KEY = -1


def assert_ulps(actual, expected, ulps):
    """Equal but for so many units in the last place of the largest value."""
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    size = max(expected.abs().max().item(), torch.finfo(expected.dtype).tiny)
    error = (actual - expected).abs().max().item() / size / torch.finfo(expected.dtype).eps
    assert error <= ulps, f"{error:.1f} ulps apart, {ulps} allowed"


def assert_equal(actual, expected):
    """Equal to the last bit; NaN is not equal to anything."""
    assert torch.equal(actual, expected), f"{(actual - expected).abs().max():.3g} apart"


class Snapshot:
    """Everything of a model that a refusal must leave, and a removal must bring back."""

    def __init__(self, model):
        self.model = model
        self.values = _values(model)
        self.identities = _identities(model)

    def assert_unchanged(self):
        """The same bits in the same objects under the same names, classes and hooks."""
        assert _identities(self.model) == self.identities
        values = _values(self.model)
        assert list(values) == list(self.values)
        for name, value in values.items():
            assert torch.equal(value, self.values[name]), name


def _values(model):
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers()]
    return {
        name: (tensor.dequantize() if tensor.is_quantized else tensor.detach().to_dense()) + 0
        for name, tensor in tensors
        if not nn.parameter.is_lazy(tensor) and not tensor.is_meta
    }


def _identities(model):
    return [
        (
            path,
            id(module),
            type(module),
            repr(module),
            [(name, id(p), p is None or p.requires_grad) for name, p in module._parameters.items()],
            [(name, id(b)) for name, b in module._buffers.items()],
            list(module._forward_pre_hooks.items()),
            list(module._forward_hooks.items()),
            list(module._forward_hooks_always_called.items()),
            sorted(module.__dict__),
        )
        for path, module in model.named_modules()
    ]
