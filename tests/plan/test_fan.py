"""`fans` counts connections."""

import math

import pytest
import torch
from hypothesis import given
from torch import nn
from torch.nn.init import _calculate_fan_in_and_fan_out

from equalized_lr import Fan, fans
from tests.support.reference import counted_fans
from tests.support.strategies import CONVOLUTIONS, samples


@given(samples(kinds=CONVOLUTIONS))
def test_convolutions_are_counted_connection_by_connection(sample):
    """Fans of convolutions of every kind are what counting the connections one by one gives."""
    fan = fans(sample.layer)["weight"]
    assert (fan.fan_in, fan.fan_out) == pytest.approx(counted_fans(sample.layer), rel=1e-12)


@given(
    samples(kinds=("Linear", "Bilinear", "RNNCell", "LSTMCell", "GRUCell", "RNN", "LSTM", "GRU"))
)
def test_matrices_agree_with_torch(sample):
    """Where torch's own rule is right, for matrices and for Bilinear, both agree."""
    for name, fan in fans(sample.layer).items():
        assert fan[:2] == _calculate_fan_in_and_fan_out(getattr(sample.layer, name))


@given(samples())
def test_every_weight_and_nothing_else_is_known(sample):
    """`fans` names all parameters with two or more axes, but for attention's bias tokens."""
    weights = {name for name, p in sample.layer._parameters.items() if p is not None and p.ndim > 1}
    assert set(fans(sample.layer)) == weights


def test_counting_would_see_torchs_rule_for_transposed_convolutions():
    """The usual rule, in torch and in most code bases, fails the count where channels differ."""
    layer = nn.ConvTranspose2d(8, 2, 4, stride=2)
    assert counted_fans(layer) == (8 * 16 / 4, 2 * 16)
    assert _calculate_fan_in_and_fan_out(layer.weight)[0] == 2 * 16


def test_attention_is_three_projections():
    """Packed or not, each of query, key and value has the fan of its own input."""
    assert fans(nn.MultiheadAttention(8, 2)) == {"in_proj_weight": Fan(8, 8, "in_proj_bias")}
    separate = fans(nn.MultiheadAttention(8, 2, kdim=3, vdim=5))
    assert {name: fan.fan_in for name, fan in separate.items()} == {
        "q_proj_weight": 8,
        "k_proj_weight": 3,
        "v_proj_weight": 5,
    }


@pytest.mark.parametrize(
    "layer",
    [
        nn.LayerNorm((4, 4)),
        nn.BatchNorm2d(3),
        nn.GroupNorm(1, 3),
        nn.RMSNorm((2, 2)),
        nn.Embedding(5, 3),
        nn.EmbeddingBag(5, 3),
        nn.PReLU(4),
        nn.Identity(),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_norms_and_embeddings_have_no_fan(layer):
    """A normalization has no connections and a look-up makes one: neither is scaled."""
    assert fans(layer) == {}


def test_subclasses_inherit_and_new_types_can_be_registered():
    """A subclass has its parent's fans; a layer type that is registered has its own."""

    class Mine(nn.Linear):
        pass

    class Patches(nn.Module):
        def __init__(self):
            super().__init__()
            self.kernel = nn.Parameter(torch.randn(6, 12))

    assert fans(Mine(3, 2))["weight"].fan_in == 3
    assert fans(Patches()) == {}
    fans.register(Patches, lambda layer: {"kernel": Fan(*reversed(layer.kernel.shape))})
    assert fans(Patches())["kernel"] == Fan(12, 6)


def test_published_numbers():
    """Fans and constants of layers whose numbers PGGAN, ALAE and TF-GAN print."""
    assert fans(nn.Conv2d(512, 512, 3))["weight"].fan_in == 4608
    assert fans(nn.ConvTranspose2d(512, 256, 4, 2, 1))["weight"].fan_in == 2048
    kernel = nn.Conv2d(5, 6, (3, 4))  # TF-GAN's layers_test: 0.1290994 without a slope's gain
    assert math.sqrt(1 / fans(kernel)["weight"].fan_in) == pytest.approx(0.1290994, abs=1e-7)
    assert math.sqrt(2 / fans(kernel)["weight"].fan_in) == pytest.approx(0.1825742, abs=1e-7)
