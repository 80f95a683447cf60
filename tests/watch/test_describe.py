"""`describe`: the numbers, the notes, and how they are shown."""

import math

import pytest
import torch
from hypothesis import given
from torch import nn
from torch.nn.utils import prune

from equalized_lr import describe, equalize_lr, errors, he_scales, remove_equalized_lr
from tests.support.assertions import Snapshot
from tests.support.strategies import gains, lr_muls, samples


def one(module, name, **options):
    """The line of one weight."""
    (line,) = [line for line in describe(module, **options) if line.name == name]
    return line


@given(samples(), gains, lr_muls)
def test_numbers(sample, gain, lr_mul):
    """Constants are those of he_scales, spreads those of the tensors, and nothing is touched."""
    layer = equalize_lr(sample.layer, gain=gain, lr_mul=lr_mul)
    before = Snapshot(layer)
    lines = {line.name: line for line in describe(layer)}
    before.assert_unchanged()
    for name, c in he_scales(layer).items():
        module, _, own = name.rpartition(".")
        held = layer.get_submodule(module)
        assert lines[name].scale == c
        assert lines[name].equalized
        assert lines[name].shape == tuple(getattr(held, own).shape)
        if getattr(held, own).numel() > 1:
            for spread, tensor in (("std", own), ("stored_std", f"{own}_orig")):
                expected = getattr(held, tensor).detach().std().item()
                assert getattr(lines[name], spread) == pytest.approx(expected, rel=1e-4)


def test_plain_models_and_both_forms():
    """A plain weight has the c that it would get, or that it has in the implicit form."""
    net = nn.Sequential(nn.Linear(64, 400), nn.Linear(400, 1))
    nn.init.normal_(net[0].weight, std=0.02)
    line = one(net, "0.weight")
    assert (line.equalized, line.fan, line.note) == (False, 64, "plain; stored std far from 1")
    assert line.scale == he_scales(net)["0.weight"]
    assert line.std == pytest.approx(0.02, rel=0.02)
    line = one(net, "0.weight", scales={"0.weight": 0.02})
    assert line.stored_std == pytest.approx(1, rel=0.02)
    equalize_lr(net, init="keep")
    assert one(net, "0.weight").equalized
    assert one(remove_equalized_lr(net), "0.weight").note.startswith("plain")


def test_left_alone():
    """Norm layers, embeddings and unknown layers are listed, too, and why nothing happens there."""
    net = nn.Sequential(nn.BatchNorm1d(3), nn.Embedding(5, 3), nn.PReLU())
    assert [(line.name, line.note) for line in describe(net)] == [
        ("0.weight", "left alone: no known fan"),
        ("1.weight", "left alone: no known fan"),
        ("2.weight", "left alone: no known fan"),
    ]


@pytest.mark.parametrize(
    ("value", "note"),
    [
        (0.0, "all values are equal"),
        (math.nan, "not finite"),
        (torch.arange(50.0).reshape(2, 25), "stored std far from 1"),
        (torch.tensor([-1.0, 1.0]).repeat(25).reshape(2, 25), ""),
    ],
)
def test_values_that_look_odd(value, note):
    """Dead, broken and badly spread weights are pointed out; others are not."""
    layer = equalize_lr(nn.Linear(25, 2))
    with torch.no_grad():
        layer.weight_orig.copy_(torch.as_tensor(value).expand(2, 25))
    assert one(layer, "weight").note == note


def test_lr_mul_widens_what_is_expected():
    """With lr_mul the stored weights are N(0, 1 / lr_mul**2)."""
    layer = equalize_lr(nn.Linear(400, 400), lr_mul=0.01)
    assert one(layer, "weight").note == ""
    with torch.no_grad():
        layer.weight_orig.mul_(0.01)
    assert one(layer, "weight").note == "stored std far from 100"


def test_a_constant_far_from_the_others():
    """The one layer with another gain or lr_mul is named, with both numbers."""
    net = nn.Sequential(*(nn.Linear(64, 64) for _ in range(4)))
    equalize_lr(net[1], lr_mul=0.01)
    equalize_lr(net)
    notes = [line.note for line in describe(net) if line.name.endswith("weight")]
    assert notes == ["", "gain * lr_mul is 0.0141, of most layers 1.41", "", ""]


def test_without_values():
    """On the meta device and for lazy layers there are no spreads, and no error."""
    with torch.device("meta"):
        net = equalize_lr(nn.Linear(8, 8))
    assert (one(net, "weight").std, one(net, "weight").scale) == (None, 0.5)
    lazy = describe(nn.LazyLinear(3))
    assert (lazy[0].shape, lazy[0].std) == ((), None)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda net: net.append(nn.LazyLinear(3)), "'2.weight' (LazyLinear) is lazy"),
        (lambda net: prune.identity(net[1], "weight"), "'1.weight' (Linear)"),
        (lambda net: equalize_lr(net[0], "bias", fan=4), "'bias' of this Linear is equalized"),
    ],
)
def test_models_that_would_be_refused(spoil, reason):
    """They are listed all the same, and the reason stands below."""
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    spoil(net)
    table = describe(net)
    assert [line.layer for line in table if line.name == "0.weight"] == ["Linear"]
    assert [line.note for line in table if line.name == "0.weight"] == ["plain"]
    last = str(table).splitlines()[-1]
    assert last.startswith("equalize_lr would refuse this model: ")
    assert reason in last


def test_a_table_in_a_terminal():
    """Columns are aligned, and a line has no blanks at its end."""
    net = equalize_lr(nn.Sequential(nn.Linear(100, 3), nn.LayerNorm(3)), gain=1)
    lines = str(describe(net)).splitlines()
    assert lines[0].split() == [
        "weight",
        "layer",
        "shape",
        "fan",
        "c",
        "stored",
        "std",
        "std",
        "note",
    ]
    assert lines[1].split()[:5] == ["0.weight", "Linear", "3x100", "100", "0.1"]
    assert lines[2].index("left alone") == lines[0].index("note")
    assert all(line == line.rstrip() for line in lines)


def test_a_table_in_a_notebook():
    """HTML with the same cells; names cannot break it."""
    odd = type("A<b>", (nn.Linear,), {})
    text = describe(equalize_lr(nn.Sequential(odd(4, 4))))._repr_html_()
    assert text.count("<tr>") == 2
    assert "<td>A&lt;b&gt;</td><td>4x4</td>" in text


def test_it_is_a_sequence():
    """Rows for programs."""
    lines = describe(equalize_lr(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))))
    assert len(lines) == 2
    assert [line.name for line in lines] == ["0.weight", "1.weight"]
    assert lines[-1].name == "1.weight"
    with pytest.raises(errors.NotAModule):
        describe({})


def test_every_weight_has_its_line():
    """Layers with weights behind their biases, too."""
    lines = [line.name for line in describe(nn.LSTM(3, 4, num_layers=2))]
    assert lines == ["weight_ih_l0", "weight_hh_l0", "weight_ih_l1", "weight_hh_l1"]


def test_the_constant_in_force_counts():
    """What `scales` says of an equalized weight is not asked."""
    layer = equalize_lr(nn.Linear(4, 4), gain=1)
    assert describe(layer, scales={"weight": 7.0})[0].scale == 0.5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex64])
def test_spreads_in_other_precisions(dtype):
    """Half precision is summed up in single, and complex values are not cut in half."""
    layer = nn.Linear(300, 300, dtype=dtype)
    nn.init.normal_(layer.weight, std=3.0)
    assert one(layer, "weight").std == pytest.approx(3.0, rel=0.01)


@pytest.mark.parametrize(("std", "noted"), [(0.3, True), (0.5, False), (2.5, False), (3.5, True)])
def test_how_far_is_far(std, noted):
    """Three times as wide or narrow; the same goes for constants."""
    layer = equalize_lr(nn.Linear(300, 300))
    nn.init.normal_(layer.weight_orig, std=std)
    assert (one(layer, "weight").note == "stored std far from 1") == noted
    net = nn.Sequential(*(equalize_lr(nn.Linear(16, 16), gain=gain) for gain in (1, 1, std)))
    assert ("gain * lr_mul is" in one(net, "2.weight").note) == noted


def test_notes_are_joined():
    """Two remarks of one weight stand behind each other."""
    net = nn.Sequential(*(equalize_lr(nn.Linear(16, 16), gain=gain) for gain in (1, 1, 5)))
    nn.init.zeros_(net[2].weight_orig)
    note = "all values are equal; gain * lr_mul is 5, of most layers 1"
    assert one(net, "2.weight").note == note
