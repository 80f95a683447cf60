"""A whole-model call says which weights it leaves alone."""

import warnings

import pytest
import torch
from torch import nn

from equalized_lr import Fan, LeftAlone, equalize_lr, fans, he_scales, is_equalized, observe
from tests.support.assertions import Snapshot


class Experts(nn.Module):
    """Raw weights in a module that nobody registered."""

    def __init__(self):
        super().__init__()
        self.up, self.gain = nn.Parameter(torch.randn(8, 8)), nn.Parameter(torch.ones(8))

    def forward(self, x):
        return self.gain * (x @ self.up)


class EqualLinear(nn.Linear):
    """A layer that scales its weight by hand."""

    def forward(self, x):
        return nn.functional.linear(x, self.weight * 0.25, self.bias)


def model():
    return nn.Sequential(nn.Linear(8, 8), Experts())


def test_what_is_left_alone_is_named():
    """The parameter, its layer's class, the share of the model's numbers, and the cure."""
    with pytest.warns(LeftAlone, match=r"1 parameter\(s\) .* 44% .*'1.up' \(Experts\)") as said:
        equalize_lr(model())
    assert len(said) == 1
    for cure in ("fans=observe(model, x)", "fans.register", "where="):
        assert cure in str(said[0].message)


def test_what_is_said_points_at_the_caller():
    """The line that called equalize_lr is shown with it."""
    with pytest.warns(LeftAlone) as said:
        equalize_lr(model())
    assert said[0].filename == __file__


def test_a_filter_makes_it_an_error_that_changes_nothing():
    """The warning comes before anything is touched."""
    net = model()
    before = Snapshot(net)
    with warnings.catch_warnings():
        warnings.simplefilter("error", LeftAlone)
        with pytest.raises(LeftAlone):
            equalize_lr(net)
    before.assert_unchanged()
    assert not is_equalized(net[0])


def test_with_fans_nothing_is_said():
    """Whoever gives fans has looked; `where` restricts what is said as it does what is done."""
    net = model()
    equalize_lr(net, fans=observe(net, torch.randn(2, 8)))
    assert is_equalized(net[1], "up")
    assert not is_equalized(net[1], "gain")
    equalize_lr(model(), where=lambda path, _: path == "0")
    he_scales(model())


@pytest.mark.parametrize(
    "layer",
    [
        nn.Embedding(3, 4),
        nn.LayerNorm((3, 4)),
        nn.MultiheadAttention(4, 2, add_bias_kv=True),
        nn.TransformerEncoderLayer(4, 2),
        nn.LSTM(2, 2),
        type("TokenEmbedding", (nn.Embedding,), {})(3, 4),
        type("MyNorm", (nn.LayerNorm,), {})((3, 4)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_that_need_no_word(layer):
    """Embeddings, norms and the layers of torch.nn are what they are."""
    equalize_lr(nn.Sequential(nn.Linear(2, 2), layer))


def test_a_tie_is_not_left_alone():
    """A raw Parameter that a known layer holds, too, is equalized with it."""
    net = model()
    net[1].up = nn.Parameter(torch.randn(8, 8))
    net[0].weight = net[1].up
    equalize_lr(net)
    assert is_equalized(net[1], "up")


def test_what_is_equalized_by_name_is_not_left_alone():
    """What was given a scale before, or a half of its layer, needs no word."""
    net = nn.Sequential(*model(), type("MyLSTM", (nn.LSTM,), {})(2, 2))
    equalize_lr(net[1], "up", fan=8)
    equalize_lr(net[2], "weight_ih_l0")
    equalize_lr(net)
    assert is_equalized(net[2], "weight_hh_l0")


def test_layers_that_may_scale_by_hand_are_named():
    """A subclass with a forward of its own is equalized, and said to be worth a look."""
    net = nn.Sequential(nn.Linear(8, 8), EqualLinear(8, 8))
    with pytest.warns(LeftAlone, match=r"1 layer\(s\) .* may scale .*'1.weight' \(EqualLinear\)"):
        equalize_lr(net)


class Registered(Experts):
    """A layer type that its author has registered."""


@fans.register
def _(layer: Registered):
    return {"up": Fan(8, 8)}


class Rewritten(Registered):
    def forward(self, x):
        return 0.5 * super().forward(x)


def test_registered_layers_need_no_word():
    """Whoever registers a type knows its forward; a subclass with another one is named."""
    equalize_lr(nn.Sequential(nn.Linear(8, 8), Registered()))
    with pytest.warns(LeftAlone, match=r"'1.up' \(Rewritten\)"):
        equalize_lr(nn.Sequential(nn.Linear(8, 8), Rewritten()))


def test_five_are_all_named():
    """Nothing more is said of as many as there is room for."""
    net = nn.Sequential(nn.Linear(8, 8), *(Experts() for _ in range(5)))
    with pytest.warns(LeftAlone, match=r"'4.up' \(Experts\), '5.up' \(Experts\)\. Find"):
        equalize_lr(net)


def test_many_are_counted():
    """The first five are named, the others counted."""
    net = nn.Sequential(nn.Linear(8, 8), *(Experts() for _ in range(7)))
    with pytest.warns(LeftAlone, match=r"'5.up' \(Experts\) and 2 more\."):
        equalize_lr(net)
