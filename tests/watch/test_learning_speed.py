"""`LearningSpeed` says how far each step moves each weight, relative to its size.

1. A relative step is the norm of the difference over the norm before, whatever the optimizer.
2. Both forms have the same speeds; so has the stored weight.
3. The spread is that of the medians, over the weights that move.
4. The optimizer is as before: in its trajectory, and in its hooks afterwards.
5. Memory is bounded, and what is merged is the mean.
"""

import copy
import math
import statistics
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from equalized_lr import LearningSpeed, equalize_lr, errors, remove_equalized_lr
from equalized_lr.optim import ScaledSteps, implicit, init_
from equalized_lr.plan.slots import Slot
from equalized_lr.watch.follower import POINTS, Track, relative_step
from equalized_lr.watch.learning_speed import Speed, Speeds
from equalized_lr.watch.speed_plot import blocks_of
from tests.support import strategies

X = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))


def perceptron():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2)
    )


def train(net, optimizer, steps=6):
    for _ in range(steps):
        optimizer.zero_grad()
        net(X).square().mean().backward()
        optimizer.step()


def follow(net, optimizer, steps=6, every=1):
    with LearningSpeed(net, optimizer, every=every) as speed:
        train(net, optimizer, steps)
    return speed


def by_hand(net, optimizer, steps=6):
    """The oracle: effective weights, read before and after each step."""
    ratios = {name: [] for name in ("0", "2", "4")}
    for _ in range(steps):
        before = {name: net.get_submodule(name).weight.detach().clone() for name in ratios}
        train(net, optimizer, 1)
        for name, old in before.items():
            new = net.get_submodule(name).weight.detach()
            ratios[name].append(((new - old).norm() / old.norm()).item())
    return {f"{name}.weight": steps for name, steps in ratios.items()}


MAKERS = {
    "plain": lambda net: torch.optim.Adam(net.parameters(), lr=1e-2),
    "equalized": lambda net: torch.optim.Adam(equalize_lr(net).parameters(), lr=1e-2),
    "implicit": lambda net: implicit(torch.optim.Adam, init_(net), lr=1e-2),
    "SGD": lambda net: torch.optim.SGD(equalize_lr(net).parameters(), lr=0.1, momentum=0.9),
    "weight decay": lambda net: torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=0.5),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_the_steps_are_those_of_the_effective_weights(make):
    """For each form and optimizer what is followed is what a reader of the weights sees."""
    net = perceptron()
    speed = follow(net, make(net))
    twin = perceptron()
    expected = by_hand(twin, make(twin))
    assert list(speed.relative_steps) == list(expected)
    for name, points in speed.relative_steps.items():
        assert [step for step, _ in points] == list(range(6))
        assert [value for _, value in points] == pytest.approx(expected[name], rel=1e-5)
    rows = speed.table()
    assert [row.relative_step for row in rows] == pytest.approx(
        [statistics.median(values) for values in expected.values()], rel=1e-5
    )
    medians = [row.relative_step for row in rows]
    assert speed.spread == pytest.approx(max(medians) / min(medians))


def test_the_seen_training_is_the_unseen_one():
    """Weights, and what the optimizer has of hooks, are as if nobody had looked."""
    nets = [equalize_lr(perceptron()) for _ in range(2)]
    optimizers = [torch.optim.Adam(net.parameters(), lr=1e-2) for net in nets]
    follow(nets[0], optimizers[0])
    train(nets[1], optimizers[1])
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(one, other)
    assert not optimizers[0]._optimizer_step_pre_hooks
    assert not optimizers[0]._optimizer_step_post_hooks
    copy.deepcopy(optimizers[0])


def test_forms_have_the_same_speeds():
    """A stored weight, its effective one and its implicit twin move at one relative speed."""
    explicit, plain = equalize_lr(perceptron()), perceptron()
    plain.load_state_dict(remove_equalized_lr(copy.deepcopy(explicit)).state_dict())
    one = follow(explicit, torch.optim.Adam(explicit.parameters(), lr=1e-2))
    other = follow(plain, implicit(torch.optim.Adam, plain, lr=1e-2))
    for row, twin in zip(one.table(), other.table(), strict=True):
        assert row.relative_step == pytest.approx(twin.relative_step, rel=1e-3)
        assert row.scale == pytest.approx(twin.scale)
    plain = perceptron()
    assert {row.scale for row in follow(plain, MAKERS["plain"](plain)).table()} == {None}


@given(sample=strategies.samples())
def test_any_layer(sample):
    """What does not learn stands still, and every weight that is a matrix has its row."""
    layer = sample.layer
    weights = [name for name, p in layer.named_parameters() if p.ndim >= 2]
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    with LearningSpeed(layer, optimizer, every=1) as speed:
        for p in layer.parameters():
            p.grad = p.detach().clone()
        optimizer.step()
    assert [row.name for row in speed.table()] == weights
    for points in speed.relative_steps.values():
        assert all(value == pytest.approx(0.5, rel=0.02) for _, value in points)


def test_equalizing_evens_out():
    """The number that a user looks at: the spread of plain weights is a multiple of ours."""

    def spread(make):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(8, 512), nn.Tanh(), nn.Linear(512, 2))
        return follow(net, make(net), steps=20).spread

    assert spread(MAKERS["equalized"]) < 1.5
    assert spread(MAKERS["plain"]) > 4


def test_notes():
    """A layer far from the others is named, as is one that does not move."""
    net = perceptron()
    equalize_lr(net[0], lr_mul=100.0)
    equalize_lr(net[2])
    equalize_lr(net[4], lr_mul=0.01)
    net.append(nn.Linear(2, 2))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    with LearningSpeed(net, optimizer, every=1) as speed:
        for _ in range(3):
            optimizer.zero_grad()
            net[:5](X).square().sum().backward()
            optimizer.step()
    notes = [row.note for row in speed.table()]
    assert notes[0].startswith("fast: ")
    assert notes[1] == ""
    assert notes[2].startswith("slow: 1/")
    assert notes[3] == "does not move"
    assert math.isfinite(speed.spread)


def test_zero_weights_have_no_speed():
    """The first step of a weight that begins at zero is infinitely fast, and not counted."""
    net = nn.Linear(8, 2)
    nn.init.zeros_(net.weight)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with LearningSpeed(net, optimizer, every=1) as speed:
        net(X).sum().backward()
        optimizer.step()
        assert speed.table()[0].note == "no step seen"
        with pytest.raises(errors.NothingMeasured):
            _ = speed.spread
        optimizer.step()
    assert [step for step, _ in speed.relative_steps["weight"]] == [1]


def test_weights_take_turns():
    """Each is looked at in one of `every` steps, no two of the first few in the same."""
    net = perceptron()
    speed = follow(net, MAKERS["plain"](net), steps=10, every=4)
    steps = {name: [step for step, _ in points] for name, points in speed.relative_steps.items()}
    assert steps == {"0.weight": [0, 4, 8], "2.weight": [1, 5, 9], "4.weight": [2, 6]}
    assert speed.steps == 10


@given(count=st.integers(1, 3000), every=st.integers(1, 7), first=st.integers(0, 6))
def test_memory_is_bounded(count, every, first):
    """However long the training, there are fewer points than POINTS, and their mean is right."""
    parameter = torch.ones(1, 1)
    track, values = Track(Slot("", nn.Module(), "w"), parameter, every, first), []
    for step in range(count):
        if step >= track.next:
            track.add(step, parameter / (1 + step))
            values.append(step)
    points = track.points()
    assert len(points) < POINTS
    if len(values) < POINTS:
        assert [step for step, _ in points] == values
        assert [value for _, value in points] == pytest.approx(values, rel=1e-5)
    else:
        assert len(points) >= POINTS // 2


@pytest.mark.parametrize("every", [1, 3])
def test_merged_points_are_means(every):
    """At the limit neighbours become one point at the place of the first, and half are taken."""
    parameter = torch.full((1, 1), 2.0)
    track = Track(Slot("", nn.Module(), "w"), parameter, every, 0)
    for number in range(POINTS):
        assert track.next == number * every
        track.add(number * every, parameter / (2.0 if number % 2 else 4.0))
    assert track.points() == [(number * every, 2.0) for number in range(0, POINTS, 2)]
    assert track.next == (POINTS - 1) * every + 2 * every


def test_growing_networks():
    """A layer that joins the optimizer in mid-training is followed from then on."""
    net = perceptron()
    optimizer = torch.optim.Adam(net[:3].parameters(), lr=1e-2)
    with LearningSpeed(net, optimizer, every=1) as speed:
        train(net, optimizer, 2)
        assert [row.name for row in speed.table()] == ["0.weight", "2.weight"]
        optimizer.add_param_group({"params": list(net[4].parameters())})
        train(net, optimizer, 2)
    assert [step for step, _ in speed.relative_steps["4.weight"]] == [2, 3]


def test_a_parameter_that_is_replaced():
    """Its successor in the group is followed, as growing and splatting networks have it."""
    net = perceptron()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    with LearningSpeed(net, optimizer, every=1) as speed:
        train(net, optimizer, 2)
        net[2].weight = nn.Parameter(2 * net[2].weight.detach())
        optimizer.param_groups[0]["params"][2] = net[2].weight
        train(net, optimizer, 2)
    points = dict(speed.relative_steps["2.weight"])
    assert sorted(points) == [0, 1, 2, 3]
    assert all(1e-4 < ratio < 1 for ratio in points.values())


def test_changes_of_form_in_mid_training():
    """Wrapping and removing between two steps changes neither the rows nor the speeds, only c."""
    net = perceptron()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    with LearningSpeed(net, optimizer, every=1) as speed:
        train(net, optimizer, 2)
        assert [row.scale for row in speed.table()] == [None, None, None]
        equalize_lr(net, init="keep", optimizer=optimizer)
        train(net, optimizer, 2)
        assert [row.scale for row in speed.table()] == [0.5, 0.25, 0.25]
        remove_equalized_lr(net, optimizer=optimizer)
        train(net, optimizer, 2)
        assert [row.scale for row in speed.table()] == [None, None, None]
    twin = perceptron()
    expected = by_hand(twin, MAKERS["plain"](twin))
    for name, points in speed.relative_steps.items():
        assert [value for _, value in points] == pytest.approx(expected[name], rel=1e-4)


def test_again_and_again():
    """A second block goes on where the first ended; what is seen is kept."""
    net = perceptron()
    optimizer = MAKERS["plain"](net)
    speed = LearningSpeed(net, optimizer, every=1)
    for _ in range(2):
        with speed:
            train(net, optimizer, 2)
        train(net, optimizer, 3)
    assert speed.steps == 4
    assert [step for step, _ in speed.relative_steps["0.weight"]] == [0, 1, 2, 3]


def test_nested_blocks():
    """The end of an inner block does not end the outer one, and no step counts twice."""
    net = perceptron()
    optimizer = MAKERS["plain"](net)
    with LearningSpeed(net, optimizer, every=1) as speed:
        with speed:
            train(net, optimizer, 2)
        train(net, optimizer, 2)
    assert speed.steps == 4
    assert not optimizer._optimizer_step_pre_hooks


def test_an_exception_in_a_step():
    """A step that fails is not counted, and the next one is measured from where it begins."""
    net = perceptron()
    optimizer = MAKERS["plain"](net)
    failing = [True]

    def closure():
        if failing.pop():
            raise KeyError
        optimizer.zero_grad()
        loss = net(X).square().mean()
        loss.backward()
        return loss

    with LearningSpeed(net, optimizer, every=1) as speed:
        with pytest.raises(KeyError):
            optimizer.step(closure)
        failing.append(False)
        optimizer.step(closure)
    assert speed.steps == 1
    assert [len(points) for points in speed.relative_steps.values()] == [1, 1, 1]


def test_several_optimizers():
    """One for each part, as a GAN has them, or as Muon's users do."""
    net = perceptron()
    optimizers = [torch.optim.SGD(part.parameters(), lr=0.1) for part in (net[0], net[2:])]
    with LearningSpeed(net, optimizers, every=1) as speed:
        net(X).square().mean().backward()
        for optimizer in optimizers:
            optimizer.step()
        optimizers[0].step()
    assert {name: len(points) for name, points in speed.relative_steps.items()} == {
        "0.weight": 2,
        "2.weight": 1,
        "4.weight": 1,
    }
    assert speed.steps == 2


def test_under_scaled_steps():
    """The steps are made in other units, and the relative step is the same."""
    nets = [perceptron(), perceptron()]
    optimizers = [MAKERS["plain"](net) for net in nets]
    for net, optimizer in zip(nets, optimizers, strict=True):
        ScaledSteps(optimizer, net)
    speed, expected = follow(nets[0], optimizers[0]), by_hand(nets[1], optimizers[1])
    for name, points in speed.relative_steps.items():
        assert [value for _, value in points] == pytest.approx(expected[name], rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.complex64])
def test_dtypes(dtype):
    """A relative step of a quarter is one in every dtype, of large weights too."""
    before = torch.full((300, 300), 256.0, dtype=dtype)
    assert float(relative_step(before, before * 1.25)) == 0.25


def test_a_scaler():
    """A gradient scaler's skipped step is no step."""
    net = perceptron()
    optimizer = MAKERS["plain"](net)
    speed = follow(net, optimizer)
    assert speed.steps == 6
    scaler = torch.amp.GradScaler("cpu")
    with speed:
        for factor in (1.0, math.inf):
            optimizer.zero_grad()
            scaler.scale(net(X).square().mean() * factor).backward()
            scaler.step(optimizer)
            scaler.update()
    assert speed.steps == 7


def test_tied_and_lazy_weights():
    """A tied weight has one row, under the first of its names; a lazy one has none yet."""
    net = perceptron()
    net[2].weight = nn.Parameter(torch.randn(32, 32))
    net.append(nn.Linear(32, 32))
    net[5].weight = net[2].weight
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net.append(nn.LazyLinear(3))
    with LearningSpeed(net, optimizer) as speed:
        assert [row.name for row in speed.table()] == ["0.weight", "2.weight", "4.weight"]


def test_text_and_html():
    """A table in a terminal and in a notebook, one line in a log."""
    net = perceptron()
    speed = follow(net, MAKERS["equalized"](net))
    assert repr(speed).startswith("LearningSpeed: 6 steps, spread ")
    lines = str(speed.table()).splitlines()
    assert " ".join(lines[0].split()) == "weight layer shape c rel. step note"
    assert lines[1].split()[:4] == ["0.weight", "Linear", "32x8", "0.5"]
    assert lines[-1] == repr(speed).removeprefix("LearningSpeed: ")
    assert speed._repr_html_().count("<tr>") == 4


BLOCKS = {
    "modules": (["a.x", "a.y", "b.0.x", "c.x"], ["a", "a", "b.0", "c"]),
    "a level above": (
        [f"{block}.{k}.x" for block in "abcd" for k in range(4)],
        [block for block in "abcd" for _ in range(4)],
    ),
    "neighbours": (
        [f"layers.{k}.{part}" for k in range(20) for part in "xy"],
        [f"layers.{k // 2 * 2} to layers.{k // 2 * 2 + 1}" for k in range(20) for _ in "xy"],
    ),
    "no modules": (list("abc"), list("abc")),
}


@pytest.mark.parametrize(("names", "blocks"), BLOCKS.values(), ids=BLOCKS)
def test_blocks(names, blocks):
    """The smallest modules that are few enough, or rows of neighbours where they are too many."""
    assert blocks_of(names) == dict(zip(names, blocks, strict=True))


def test_a_table_of_a_deep_model():
    """Names are shortened to 80 columns and stay distinct; fast and slow ones are noted."""
    parts = {f"a_block_with_a_name_{k}": nn.Linear(64, 64).double() for k in range(12)}
    net = nn.ModuleDict({"a_backbone_with_a_name": nn.ModuleDict(parts)})
    optimizer = torch.optim.SGD(
        [{"params": each.parameters(), "lr": 4.0**k} for k, each in enumerate(parts.values())]
    )
    with LearningSpeed(net, optimizer, every=1) as speed:
        for parameter in net.parameters():
            parameter.grad = 1e-9 * parameter.detach()
        optimizer.step()
    lines = str(speed.table()).splitlines()
    assert max(map(len, lines)) <= 80
    assert len({line.split()[0] for line in lines[1:13]}) == 12
    assert lines[1].endswith(" slow: 1/2600")  # the median is (4**5 + 4**6) / 2 = 2560
    assert speed.table()[0].note == "slow: 1/2600 of the median"
    assert speed.table()[-1].note == "fast: 1600 times the median"
    assert lines[-1].startswith("fast, slow: in units of the median, ")


def test_without_matplotlib(monkeypatch):
    """Nothing imports it before a picture is asked for, and then its absence is an error."""
    net = perceptron()
    speed = follow(net, MAKERS["plain"](net))
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(
        errors.MissingPackage, match="^a picture needs.*pip install matplotlib, or take"
    ):
        speed.plot()


def test_refusals():
    """Nothing to follow, nothing seen, and arguments that are none."""
    net = perceptron()
    with (
        pytest.raises(errors.NothingToFollow, match="Adam"),
        LearningSpeed(net, MAKERS["plain"](perceptron())),
    ):
        pass
    both = [MAKERS["plain"](net), MAKERS["plain"](net[0])]
    with (
        pytest.raises(
            errors.InvalidArgument,
            match="^optimizer='Adam and Adam' .*expected optimizers that share no weight.$",
        ),
        LearningSpeed(net, both),
    ):
        pass
    assert not both[0]._optimizer_step_pre_hooks
    with pytest.raises(errors.NothingMeasured):
        LearningSpeed(net, MAKERS["plain"](net)).plot()
    assert "no step seen" not in repr(LearningSpeed(net, MAKERS["plain"](net)).table())
    for optimizer in (None, [], net, net.parameters()):
        with pytest.raises(errors.InvalidArgument, match="optimizer"):
            LearningSpeed(net, optimizer)
    for every in (0, -1, 2.5):
        with pytest.raises(errors.InvalidArgument, match="every"):
            LearningSpeed(net, MAKERS["plain"](net), every=every)
    with pytest.raises(errors.NotAModule):
        LearningSpeed(net.parameters(), MAKERS["plain"](net))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated")
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch 2.9, of what other tests hold
@pytest.mark.parametrize("what", ["model", "step"])
def test_compiled(what):
    """A compiled model and a compiled step are followed, and compiled once."""
    net, twin = perceptron(), perceptron()
    optimizer, other = MAKERS["plain"](net), MAKERS["plain"](twin)
    counter = CompileCounterWithBackend("aot_eager")
    called, step = net, optimizer.step
    if what == "model":
        called = torch.compile(net, backend=counter)
    else:
        step = torch.compile(optimizer.step, backend=counter)
    with LearningSpeed(net, optimizer, every=2) as speed:
        for number in range(6):
            optimizer.zero_grad()
            called(X).square().mean().backward()
            step()
            if number == 2:
                compiled = counter.frame_count
    assert counter.frame_count == compiled > 0
    expected = by_hand(twin, other)
    for name, points in speed.relative_steps.items():
        assert len(points) == 3
        for number, value in points:
            assert value == pytest.approx(expected[name][number], rel=1e-3)


def test_tables_in_full():
    """A row is a line; what was not seen is a dash; the last line is the summary."""
    rows = [
        Speed("a.weight", "Linear", (3, 4), 0.125, 0.00123456, ""),
        Speed("const", "Net", (), None, None, "no step <seen>"),
    ]
    assert str(Speeds(rows, ["2 steps"])) == (
        "weight    layer   shape  c      rel. step  note\n"
        "a.weight  Linear  3x4    0.125  0.00123\n"
        "const     Net     -      -      -          no step <seen>\n"
        "2 steps"
    )
    assert str(Speeds(rows)).endswith("no step <seen>")
    head, body = (
        "weight|layer|shape|c|rel. step|note",
        "const|Net|-|-|-|no step &lt;seen&gt;",
    )
    html = Speeds(rows, ["2 < 3 steps"])._repr_html_()
    assert html.startswith(
        "<table><thead><tr><th>" + head.replace("|", "</th><th>") + "</th></tr></thead><tbody><tr>"
    )
    assert html.endswith(
        "</tr><tr><td>" + body.replace("|", "</td><td>") + "</td></tr></tbody></table>"
        "<p>2 &lt; 3 steps</p>"
    )
    assert Speeds(rows)._repr_html_().endswith("</tbody></table>")


def moved_by(**steps):
    """A speed whose weights were moved by these parts of themselves in each of three steps."""
    net = nn.ModuleDict({name: nn.Linear(2, 2, bias=False) for name in steps})
    optimizer = torch.optim.SGD(
        [{"params": list(net[name].parameters()), "lr": part} for name, part in steps.items()], lr=1
    )
    with LearningSpeed(net, optimizer, every=1) as speed:
        for _ in range(3):
            for p in net.parameters():
                p.grad = p.detach().clone()
            optimizer.step()
    return speed


def test_what_is_said_of_the_ends():
    """The summary names the fastest and the slowest; a note says how far a row is off."""
    speed = moved_by(b=0.25, a=0.5, d=0.25, c=0.0625)
    assert repr(speed) == (
        "LearningSpeed: 3 steps, spread 8: a.weight is the fastest, c.weight the slowest"
    )
    assert [row.note for row in speed.table()] == ["", "", "", "slow: 1/4 of the median"]
    assert [row.note for row in moved_by(a=0.5, b=0.0625, c=0.0625).table()] == [
        "fast: 8 times the median",
        "",
        "",
    ]


def test_each_weight_is_looked_at_in_one_of_twenty_steps():
    """Unless it is said otherwise."""
    net = perceptron()
    optimizer = MAKERS["plain"](net)
    with LearningSpeed(net, optimizer) as speed:
        train(net, optimizer, 41)
    assert [step for step, _ in speed.relative_steps["0.weight"]] == [0, 20, 40]


def test_large_numbers_in_double_precision():
    """Double precision is not squeezed into single."""
    before = torch.full((2, 2), 1e100, dtype=torch.float64)
    assert float(relative_step(before, before * 1.25)) == pytest.approx(0.25)


def test_the_texts_of_refusals():
    """They name what was given."""
    net = perceptron()
    with pytest.raises(errors.InvalidArgument) as raised:
        LearningSpeed(net, MAKERS["plain"](net), every=0)
    assert str(raised.value) == "every=0 cannot be used: expected a positive whole number of steps."
    with pytest.raises(errors.InvalidArgument) as raised:
        LearningSpeed(net, [])
    assert str(raised.value) == "optimizer=[] cannot be used: expected at least one."
    optimizers = [MAKERS["plain"](perceptron()), MAKERS["SGD"](perceptron())]
    with pytest.raises(
        errors.NothingToFollow, match="of this Sequential .* is trained by Adam and SGD, "
    ):
        LearningSpeed(net, optimizers).__enter__()


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("zero", [False, True])
def test_a_weight_that_is_no_longer_finite(value, zero):
    """It is named, however well it went before, and so it stays when samples are merged."""
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    if zero:
        nn.init.zeros_(net[1].weight)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    with LearningSpeed(net, optimizer, every=1) as speed:
        for step in range(POINTS + 1):
            for p in net.parameters():
                p.grad = torch.zeros_like(p) if step else p.detach().clone()
            if step == 2:
                net[1].weight.grad[0, 0] = value
            optimizer.step()
    healthy, diverged = speed.table()
    assert diverged.note == "not finite"
    assert healthy.note != "not finite"
