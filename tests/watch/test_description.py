"""`describe`: the numbers, the notes, and how they are shown."""

import math

import pytest
import torch
from hypothesis import given
from torch import nn
from torch.nn.utils import prune

from equalized_lr import Fan, describe, equalize_lr, errors, he_scales, remove_equalized_lr
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
        owner = layer.get_submodule(module)
        assert lines[name].scale == c
        assert lines[name].equalized
        assert lines[name].shape == tuple(getattr(owner, own).shape)
        if getattr(owner, own).numel() > 1:
            for spread, tensor in (("std", own), ("stored_std", f"{own}_orig")):
                expected = getattr(owner, tensor).detach().std().item()
                assert getattr(lines[name], spread) == pytest.approx(expected, rel=1e-4)


def test_plain_models_and_both_forms():
    """A plain weight has the c that it would get, or that it has in the implicit form."""
    net = nn.Sequential(nn.Linear(64, 400), nn.Linear(400, 1))
    net[0].weight.data.mul_(0.02 / net[0].weight.std())
    line = one(net, "0.weight")
    assert (line.equalized, line.fan, line.note) == (False, 64, "plain; std is 0.113 times He's")
    assert line.scale == he_scales(net)["0.weight"]
    assert line.std == pytest.approx(0.02, rel=1e-4)
    line = one(net, "0.weight", scales={"0.weight": 0.02})
    assert line.stored_std == pytest.approx(1, rel=1e-4)
    equalize_lr(net, init="keep")
    assert one(net, "0.weight").equalized
    assert one(remove_equalized_lr(net), "0.weight").note.startswith("plain")


class Mixture(nn.Module):
    """A layer of a kind that is not known: a matrix, a table and a vector."""

    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(3, 4, 4))
        self.positions = nn.Parameter(torch.randn(5, 4))
        self.scale = nn.Parameter(torch.ones(4))


UNKNOWN = "left alone: no known fan; fans=observe(model, x) finds it, or fans.register(Mixture)"


def test_left_alone():
    """Every parameter of two or more axes is listed, and why nothing happens to it."""
    net = nn.Sequential(nn.LayerNorm((2, 3)), nn.Embedding(5, 3), nn.PReLU(), Mixture())
    assert {line.name: line.note for line in describe(net)} == {
        "0.weight": "left alone: a norm",
        "0.bias": "left alone: a norm",
        "1.weight": "left alone: an embedding",
        "3.matrix": UNKNOWN,
        "3.positions": UNKNOWN,
    }
    assert "Not listed, with less than two axes: 2 others." in str(describe(net))


def test_what_is_not_listed_is_counted():
    """Biases and the gains of norms are one line at the end, so that nothing is left out."""
    net = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)) for _ in range(5)))
    last = str(describe(net)).splitlines()[-1]
    assert last == "Not listed, with less than two axes: 10 of norms and 5 others."
    assert "Not listed" not in str(describe(nn.Linear(4, 4, bias=False)))


def test_observed_fans():
    """They are Fans or numbers and come before the table; what they leave out is not contracted."""
    net = nn.Sequential(Mixture(), nn.Linear(4, 4))
    lines = {
        line.name: line for line in describe(net, fans={"0.matrix": 16, "1.weight": Fan(2, 2)})
    }
    assert (lines["0.matrix"].fan, lines["1.weight"].fan) == (16, 2)
    assert lines["0.matrix"].scale == pytest.approx(2**-1.5, rel=1e-15)
    assert lines["1.weight"].scale == 1
    assert lines["0.positions"].note == "left alone: not contracted: fans= does not name it"
    equalize_lr(net[0], "matrix", fan=4, init="keep")
    assert describe(net, fans={"0.matrix": 16})[0].scale == pytest.approx(0.5**0.5, rel=1e-15)


@pytest.mark.parametrize("argument", ["scales", "fans"])
def test_names_that_are_none(argument):
    """A name that the module does not have is refused, not passed over."""
    with pytest.raises(errors.InvalidArgument, match=f"^{argument}='wieght'"):
        describe(nn.Linear(2, 2), **{argument: {"wieght": 1.0}})


@pytest.mark.parametrize("argument", ["scales", "fans"])
def test_numbers_that_cannot_be(argument):
    """A weight has no constant of zero, nor no connections."""
    with pytest.raises(errors.InvalidArgument, match=rf"^{argument}\['weight'\]=0 "):
        describe(nn.Linear(2, 2), **{argument: {"weight": 0}})


def test_a_weight_without_elements():
    """It has its line and no spreads, whatever its constant is said to be."""
    with pytest.warns(UserWarning, match="zero-element"):
        layer = nn.Linear(0, 4)
    line = one(layer, "weight", scales={"weight": 0.5})
    assert (line.shape, line.scale, line.stored_std, line.std) == ((4, 0), 0.5, None, None)
    assert line.note == "plain"


def test_a_forward_of_its_own():
    """A subclass that may compute something else than its class is named, until it is observed."""

    class Adapter(nn.Linear):
        def forward(self, x):
            return super().forward(x) + x

    note = "Adapter has a forward of its own: check with observe(model, x)"
    layer = Adapter(4, 4)
    assert describe(layer)[0].note == f"plain; {note}"
    assert describe(layer, fans={"weight": 4})[0].note == "plain"
    assert describe(equalize_lr(layer))[0].note == note
    assert describe(equalize_lr(nn.Linear(4, 4)))[0].note == ""


def test_zeros_that_would_be_drawn_anew():
    """A zero-initialized weight is named before init="normal" draws it."""
    layer = nn.Linear(4, 4)
    nn.init.zeros_(layer.weight)
    assert describe(layer)[0].note == 'plain; zeros, which init="normal" draws anew'


INITIALIZERS = {
    "torch's own": lambda layer: layer.reset_parameters(),
    "He's": lambda layer: nn.init.kaiming_normal_(layer.weight),
    "He's, backward": lambda layer: nn.init.kaiming_normal_(layer.weight, mode="fan_out"),
    "He's, linear": lambda layer: nn.init.kaiming_uniform_(layer.weight, nonlinearity="linear"),
}


@pytest.mark.parametrize("initialize", INITIALIZERS.values(), ids=INITIALIZERS)
@pytest.mark.parametrize("sizes", [(3, 64), (64, 64), (512, 16)])
def test_plain_weights_as_he_wants_them(initialize, sizes):
    """Nothing is said of them; a hundredth of it is named. Nor of init_ with lr_mul."""
    layer = nn.Conv2d(*sizes, 3)
    initialize(layer)
    assert describe(layer)[0].note == "plain"
    slow = he_scales(layer, lr_mul=0.01)
    assert describe(layer, scales=slow)[0].note == "plain"
    with torch.no_grad():
        layer.weight.div_(100)
    assert "times He's" in describe(layer)[0].note


def test_an_embedding_that_is_too_fast():
    """Beside equalized layers a table of std 0.02 is 50 times as fast; one of std 1 is not."""
    net = nn.Sequential(nn.Embedding(500, 40), nn.Linear(40, 3))
    assert one(net, "0.weight").note == "left alone: an embedding"
    nn.init.normal_(net[0].weight, std=0.02)
    assert one(net, "0.weight").note == "left alone: an embedding"
    assert " times as fast" in one(net, "0.weight", scales=he_scales(net)).note
    equalize_lr(net)
    # 20000 draws: the standard deviation is right to half a percent.
    speed = float(one(net, "0.weight").note.rpartition(": ")[2].split()[0])
    assert speed == pytest.approx(50, rel=0.03)


def test_the_foot_says_what_a_rate_is():
    """The relative step, and what a plain 0.001 becomes; nothing where nothing has a scale."""
    lines = str(describe(nn.Linear(200, 4))).splitlines()
    assert "The equalized lr is Adam's relative step: 0.001 moves a weight by 0.1% a step." in lines
    assert "A plain lr of 0.001 becomes 0.01 (translate_lr)." in lines
    assert "translate_lr" not in str(describe(nn.LayerNorm(3)))


def test_deep_models_fit_into_a_terminal():
    """No line is longer than 80, no name is lost, and rows for programs are whole."""
    with pytest.warns(UserWarning, match="nested_tensor"):
        net = nn.Transformer(64, 4, 3, 3, 256)
    for model in (net, equalize_lr(nn.ModuleDict({"a_module_with_a_long_name" * 3: net}))):
        table = describe(model)
        lines = str(table).splitlines()
        assert max(map(len, lines)) <= 80
        assert len({line.split()[0] for line in lines[1 : len(table) + 1]}) == len(table)
        assert all(model.get_submodule(line.name.rpartition(".")[0]) for line in table)


@pytest.mark.parametrize(
    ("value", "note"),
    [
        (0.0, "zeros"),
        (2.0, "all values are equal"),
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
    lines = str(table).splitlines()
    (start,) = [number for number, line in enumerate(lines) if "would refuse" in line]
    text = " ".join(lines[start:])
    assert text.startswith("equalize_lr would refuse this model: ")
    assert reason in text


def test_a_table_in_a_terminal():
    """Columns are aligned, and a line has no blanks at its end."""
    net = equalize_lr(nn.Sequential(nn.Linear(100, 3), nn.Embedding(3, 3)), gain=1)
    lines = str(describe(net)).splitlines()
    assert lines[0].split() == ["weight", "layer", "shape", "fan", "c", "stored", "std", "note"]
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
    note = "zeros; gain * lr_mul is 5, of most layers 1"
    assert one(net, "2.weight").note == note
