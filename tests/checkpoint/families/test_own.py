"""State_dicts of this library's own models: their constants, and what is done without them."""

import io
from collections import OrderedDict

import pytest
import torch
from torch import nn

from equalized_lr import equalize_lr, errors, he_scales, plain_state_dict
from equalized_lr.checkpoint import explain, from_plain, guess, to_plain
from tests.support.assertions import assert_equal, assert_ulps


def model(lr_mul=0.3):
    inner = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.GRU(4, 2))
    spectral = nn.utils.spectral_norm(nn.Linear(2, 2))
    net = nn.ModuleDict({"inner": inner, "spectral": spectral})
    return equalize_lr(net, where=inner_only, lr_mul=lr_mul)


def inner_only(path, module):
    return not path.startswith("spectral")


def scales_of(net):
    return he_scales(net, where=inner_only)


def saved(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@pytest.mark.parametrize("wrap", [lambda net: net, nn.DataParallel])
def test_the_constants_of_the_metadata(wrap):
    """What is plain is what `plain_state_dict` gives, also behind a wrapper's prefix."""
    net = wrap(model())
    state = saved(net.state_dict())
    assert guess(state) == ["equalized-lr"]
    plain = to_plain(state, "equalized-lr")
    expected = plain_state_dict(net)
    assert list(plain) == list(expected)
    for key, value in expected.items():
        assert_equal(plain[key], value)


def test_a_plain_result_loads_strictly():
    """Metadata of the result is that of plain modules: plain and equalized models take it."""
    net = model()
    plain = saved(to_plain(net.state_dict(), "equalized-lr"))
    other = model(lr_mul=1.0)
    other.load_state_dict(plain)
    assert_ulps(other["inner"][0].weight.detach(), net["inner"][0].weight.detach(), 2)


def test_the_way_back_is_an_own_file():
    """With the scales of the model, stored weights have their constants with them."""
    net = model()
    plain = plain_state_dict(net)
    scales = scales_of(net)
    stored = saved(from_plain(plain, "equalized-lr", scales=scales))
    for key, value in net.state_dict().items():
        if value.is_floating_point():
            assert_ulps(stored[key], value, 2)
    other = model(lr_mul=0.7)  # another constant: the metadata says so
    other.load_state_dict(stored)
    assert_ulps(other["inner"][0].weight.detach(), net["inner"][0].weight.detach(), 4)


def test_without_constants_it_asks_for_them():
    """A copy into a dict loses the metadata: refused, until the scales are given."""
    net = model()
    state = dict(net.state_dict())
    with pytest.raises(errors.NoConstants, match=r"'inner\.0\.weight_orig'.*scales=he_scales"):
        to_plain(state, "equalized-lr")
    scales = scales_of(net)
    for key, value in to_plain(state, "equalized-lr", scales=scales).items():
        assert_equal(value, plain_state_dict(net)[key])
    with pytest.raises(errors.NoConstants):
        from_plain(plain_state_dict(net), "equalized-lr")
    with pytest.raises(errors.InvalidArgument, match="scales"):
        to_plain(net.state_dict(), "equalized-lr", scales={"inner.0.weight": 0.5})
    with pytest.raises(errors.InvalidArgument, match="names that the state_dict has"):
        from_plain(plain_state_dict(net), "equalized-lr", scales={"other.weight": 0.5})


def test_spectral_norm_is_left_alone():
    """torch's own `weight_orig` is no weight of ours, with metadata and without."""
    net = model()
    steps = {step.key: step for step in explain(net.state_dict(), "equalized-lr")}
    assert steps["spectral.weight_orig"].scale is None
    state = dict(net.state_dict())
    scales = scales_of(net)
    steps = {step.key: step for step in explain(state, "equalized-lr", scales=scales)}
    assert steps["spectral.weight_orig"].name == "spectral.weight_orig"


def test_no_other_family_takes_it():
    """Names of rosinality's with constants of ours: the metadata decides."""
    net = nn.Module()
    net.linear = nn.Module()
    net.linear.linear = equalize_lr(nn.Linear(4, 4), gain=1.0)
    state = net.state_dict()
    with pytest.raises(errors.WrongForm, match="--family equalized-lr"):
        to_plain(state, "rosinality-stylegan")
    with pytest.raises(errors.WrongForm, match="stored weights"):
        from_plain(state, "rosinality-stylegan")
    assert to_plain(state, "equalized-lr")["linear.linear.weight"].equal(net.linear.linear.weight)


def test_a_later_version():
    """A format of the future is refused, not read as if it were today's."""
    state = model().state_dict()
    state._metadata["inner.0"]["equalized_lr"]["version"] = 2
    with pytest.raises(errors.UnknownVersion, match=r"'inner\.0'"):
        to_plain(state, "equalized-lr")


def test_behind_a_prefix():
    """A part of a larger state_dict is converted with the constants of that part."""
    net = nn.ModuleDict({"g": model(), "d": model()})
    plain = to_plain(net.state_dict(), "equalized-lr", prefix="g.", rest="keep")
    expected = plain_state_dict(net["g"])
    for key, value in expected.items():
        assert_equal(plain[f"g.{key}"], value)
    both = to_plain(saved(plain), "equalized-lr", prefix="d.", rest="keep")
    for key, value in plain_state_dict(net).items():
        assert_equal(both[key], value)
    with pytest.raises(errors.WrongForm, match="plain weights"):
        to_plain(plain, "equalized-lr")


@pytest.mark.parametrize(
    "constants",
    [None, 3, {}, {"version": 1}, {"version": 1, "scales": 2}, {"version": 1, "scales": {"w": "x"}},
     {"version": 1, "scales": {"w": -1.0}}],
)  # fmt: skip
def test_metadata_of_any_kind(constants):
    """What is no constant is refused by an error of ours."""
    state = OrderedDict({"w_orig": torch.ones(2, 2)})
    state._metadata = {"": {"equalized_lr": constants}}
    with pytest.raises(errors.EqualizedLRError):
        to_plain(state, "equalized-lr")
