"""Parents that read the weight of a child without calling the child."""

import pytest
import torch
from torch import nn

from tests.support.mechanisms import close, common_hook, net, x

SEQUENCE = x(5, 2, 8)


class Reader(nn.Module):
    """Computes with its child's weight and bias by itself."""

    def __init__(self):
        super().__init__()
        self.child = nn.Linear(6, 3)

    def forward(self, inputs):
        return nn.functional.linear(inputs, self.child.weight, self.child.bias)


class Siamese(nn.Module):
    """Calls one layer twice."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, inputs):
        return self.layer(torch.relu(self.layer(inputs)))


def encoder(**options):
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 2, **options)


@common_hook("error")
def test_attention_trains(mechanism):
    """MultiheadAttention reads out_proj.weight; it trains, and packed weights too."""
    model, plain = mechanism.twins(nn.MultiheadAttention(8, 2))
    for _ in range(2):
        mechanism.assert_alike(model, plain, SEQUENCE, SEQUENCE, SEQUENCE)


@common_hook("error")
def test_attention_in_eval_after_training(mechanism):
    """Attention's fast path of eval takes the weights of now."""
    model, plain = mechanism.twins(nn.MultiheadAttention(8, 2, batch_first=True))
    mechanism.assert_alike(model, plain, SEQUENCE, SEQUENCE, SEQUENCE)
    model.eval(), plain.eval()
    with torch.no_grad():
        close(model(SEQUENCE, SEQUENCE, SEQUENCE)[0], plain(SEQUENCE, SEQUENCE, SEQUENCE)[0])


@common_hook("error")
def test_the_encoders_fused_path(mechanism):
    """A TransformerEncoder in eval hands all its weights to one fused function."""
    model, plain = mechanism.twins(encoder())
    mechanism.assert_alike(model, plain, SEQUENCE)
    model.eval(), plain.eval()
    with torch.inference_mode():
        close(model(SEQUENCE), plain(SEQUENCE))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@common_hook("error")
def test_the_encoders_nested_tensors(mechanism):
    """Padding masks turn the input of the fused path into nested tensors."""
    model, plain = mechanism.twins(encoder(enable_nested_tensor=True).eval())
    mask = torch.tensor([[False, False], [False, True], [False, False], [False, True], [False] * 2])
    with torch.no_grad():
        outputs = [m(SEQUENCE, src_key_padding_mask=mask) for m in (model, plain)]
    close(*outputs)


@common_hook("error")
def test_the_encoder_trains(mechanism):
    """Three steps of a whole encoder."""
    model, plain = mechanism.twins(encoder())
    for _ in range(3):
        mechanism.assert_alike(model, plain, SEQUENCE)


@common_hook("error")
def test_a_parent_of_ones_own(mechanism):
    """A child that is never called trains."""
    model, plain = mechanism.twins(Reader())
    for _ in range(2):
        mechanism.assert_alike(model, plain, x())


@common_hook("holds")
def test_a_layer_called_twice(mechanism):
    """The gradients of both calls add up."""
    model, plain = mechanism.twins(Siamese())
    for _ in range(2):
        mechanism.assert_alike(model, plain, x())


@common_hook("holds")
def test_a_layer_held_twice(mechanism):
    """One module under two names has one stored weight."""
    layer = nn.Linear(6, 6)
    model, plain = mechanism.twins(nn.Sequential(layer, nn.ReLU(), layer))
    for _ in range(2):
        mechanism.assert_alike(model, plain, x())
    assert len(list(model.parameters())) == len(list(plain.parameters())) == 2
    assert len(list(net().parameters())) == 4
