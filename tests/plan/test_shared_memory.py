"""Parameters are rescaled where they lie, so nothing else may lie there."""

import pytest
import torch
from torch import nn

from equalized_lr import equalize_lr, errors, is_equalized, remove_equalized_lr
from tests.support.assertions import Snapshot


def shared(change):
    net = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)})
    change(net)
    return net


def transposed_tie(net):
    net["b"].weight.data = net["a"].weight.data.T


def last_element_in_a_buffer(net):
    net["a"].register_buffer("last", net["b"].weight.detach()[3, 3:])


@pytest.mark.parametrize(
    ("change", "other"), [(transposed_tie, "a.weight"), (last_element_in_a_buffer, "a.last")]
)
@pytest.mark.parametrize("init", ["keep", "normal"])
def test_two_tensors_in_one_memory(change, other, init):
    """Ties that are made below the Parameters would be scaled twice, or change something else."""
    net = shared(change)
    snapshot = Snapshot(net)
    text = rf"'b.weight' \(Linear\) lies in the same memory as '{other}'"
    with pytest.raises(errors.SharedMemory, match=text):
        equalize_lr(net, init=init)
    snapshot.assert_unchanged()


def test_memory_shared_later():
    """What came to share memory after equalizing is found by the removal."""
    net = equalize_lr(shared(lambda net: None))
    net["b"].weight_orig.data = net["a"].weight_orig.data
    snapshot = Snapshot(net)
    with pytest.raises(errors.SharedMemory):
        remove_equalized_lr(net)
    snapshot.assert_unchanged()


def test_neighbours_in_one_memory_are_fine():
    """Parameters that are disjoint parts of one block of memory, as in flat buffers, are no tie."""
    block = torch.randn(40)
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    for layer, start in zip(net, (0, 20), strict=True):
        layer.weight.data = block[start : start + 16].view(4, 4)
        layer.bias.data = block[start + 16 : start + 20]
    x = torch.randn(2, 4)
    expected = net(x)
    torch.testing.assert_close(equalize_lr(net, init="keep")(x), expected)


def test_weights_that_cannot_be_written():
    """Expanded weights, and inference tensors outside of inference mode, are refused."""
    layer = nn.Linear(4, 4)
    layer.weight = nn.Parameter(torch.ones(1, 4).expand(4, 4))
    snapshot = Snapshot(layer)
    with pytest.raises(errors.UnsupportedWeight, match=r"^'weight' \(Linear\) is expanded"):
        equalize_lr(layer)
    snapshot.assert_unchanged()
    with torch.inference_mode():
        layer = nn.Linear(4, 4)
    with pytest.raises(errors.UnsupportedWeight, match="inference tensor"):
        equalize_lr(layer)
    with torch.inference_mode():
        equalize_lr(layer)
    with pytest.raises(errors.UnsupportedWeight, match="inference tensor"):
        remove_equalized_lr(layer)
    assert is_equalized(layer)


def one_gradient_for_two(net):
    net["a"].weight.grad = net["b"].weight.grad = torch.ones(4, 4)


def expanded_gradient(net):
    net["b"].weight.grad = torch.ones(1, 4).expand(4, 4)


def gradient_of_inference_mode(net):
    with torch.inference_mode():
        net["b"].weight.grad = torch.ones(4, 4)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (one_gradient_for_two, r"\(Linear\)\.grad lies .* as 'a.weight(_orig)?\.grad'"),
        (expanded_gradient, r"\(Linear\)\.grad is expanded"),
        (gradient_of_inference_mode, r"\(Linear\)\.grad is an inference tensor"),
    ],
)
def test_gradients_that_cannot_be_scaled(change, text):
    """They are scaled in place with the values, so what fails there is found before."""
    net = shared(change)
    snapshot = Snapshot(net)
    with pytest.raises((errors.SharedMemory, errors.UnsupportedWeight), match=text):
        equalize_lr(net, init="keep")
    snapshot.assert_unchanged()
    equalized = equalize_lr(shared(lambda net: None))
    change({name: Stored(layer) for name, layer in equalized.items()})
    with pytest.raises((errors.SharedMemory, errors.UnsupportedWeight), match=text):
        remove_equalized_lr(equalized)
    assert all(map(is_equalized, equalized.values()))


class Stored:
    """A layer whose stored parameter is called `weight`."""

    def __init__(self, layer):
        self.weight = layer.weight_orig
