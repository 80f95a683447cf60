"""Anything that can be put into a dict: converted, or refused by an error of ours."""

from contextlib import suppress

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from equalized_lr import errors
from equalized_lr.checkpoint import convert, families, from_plain, guess, to_plain
from equalized_lr.checkpoint.state import State
from tests.support.samples import NETWORKS

KEYS = sorted({key for _, _, keys in NETWORKS.values() for key in keys})
PLAIN = sorted({key.replace("_orig", "").replace("_ori", "").replace("/", ".") for key in KEYS})
DTYPES = (
    torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int32, torch.int8,
    torch.bool, torch.complex64, torch.float8_e4m3fn,
)  # fmt: skip

FLOATS = DTYPES[:4]
shapes = st.lists(st.integers(0, 4), max_size=6).map(tuple)
keys = st.sampled_from(KEYS) | st.sampled_from(PLAIN) | st.text(max_size=12)


@st.composite
def tensors(draw):
    tensor = torch.zeros(draw(shapes), dtype=draw(st.sampled_from(DTYPES)))
    change = draw(st.sampled_from(["none", "fill", "meta", "sparse", "numpy", "infinite"]))
    if change == "meta":
        return tensor.to("meta")
    if change == "sparse" and tensor.dtype is torch.float32:
        return tensor.to_sparse()
    if change == "numpy" and tensor.dtype not in (torch.bfloat16, torch.float8_e4m3fn):
        return tensor.numpy()
    if change in ("fill", "infinite") and tensor.dtype in FLOATS:
        return tensor.fill_(float("inf") if change == "infinite" else 200.0)
    return tensor


others = (
    st.none() | st.integers() | st.text(max_size=3) | st.dictionaries(keys, tensors(), max_size=1)
)
values = st.one_of(tensors(), tensors(), tensors(), others)
states = st.dictionaries(keys, values, max_size=6) | others
facts = st.dictionaries(
    st.sampled_from(["gain", "lr_mul", "form", "version", "architecture", "fused_from", "x"]),
    st.sampled_from([1.0, 1e-30, 1e30, -1, 0, float("nan"), "explicit", "1", "stylegan2", None]),
    max_size=2,
)


@given(states, st.sampled_from([*families(), "nothing"]), facts, st.booleans())
def test_anything(state, family, given_facts, back):
    """No crash other than our own errors; what comes out has the given dtypes and devices."""
    with suppress(errors.EqualizedLRError):
        result = (from_plain if back else to_plain)(state, family, **given_facts)
        kinds = {(value.dtype, value.device) for value in State.of(state).tensors.values()}
        assert {(value.dtype, value.device) for value in result.values()} <= kinds


@given(st.sampled_from(sorted(NETWORKS)), st.data())
def test_a_network_with_one_thing_changed(network, data):
    """A real set of names in which one tensor is anything: the same, and the way back as well."""
    family, known, names = NETWORKS[network]
    state = {key: torch.ones(shape) for key, (shape, _) in names.items()}
    state[data.draw(st.sampled_from(list(state)))] = data.draw(values)
    with suppress(errors.EqualizedLRError):
        plain = to_plain(state, family, **known)
        again = from_plain(plain, family, **known)
        # These two take every weight with a fan for an equalized one, on the way back.
        assert set(again) == set(state) or family in ("imaginaire", "ot-vae")


@given(st.dictionaries(keys, tensors(), max_size=5))
def test_guesses(state):
    """Guessing knows its families, and never fails."""
    assert set(guess(state)) <= set(families())


def test_another_error_would_be_seen(monkeypatch):
    """Negative control: an error that is not ours fails the test above."""
    monkeypatch.setattr(convert, "convert_tensors", lambda *args, **kwargs: {}["missing"])
    with pytest.raises(KeyError):
        test_anything.hypothesis.inner_test({"lod": torch.ones(())}, "pggan", {}, back=False)
