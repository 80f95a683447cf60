"""`to_plain` and `from_plain`: every kind of key of every family, and what the calls promise."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from equalized_lr import errors
from equalized_lr.checkpoint import explain, families, from_plain, guess, to_plain
from tests.support.assertions import assert_equal, assert_ulps
from tests.support.samples import NETWORKS, stored
from tests.support.strategies import seeds

# Where one code base has taken the names and the constants of another.
SAME = {
    "ada": {"stylegan2-ada", "stylegan3", "eg3d"},
    "ada-d": {"stylegan2-ada", "stylegan3", "eg3d"},
    "sg3": {"stylegan3", "stylegan-xl"},
    "sg3-d": {"stylegan2-ada", "stylegan3", "eg3d"},
    "rosinality-stylegan2": {"rosinality-stylegan2", "swagan"},
    "rosinality-stylegan2-d": {"rosinality-stylegan2", "swagan"},
    "swagan-d": {"swagan", "styleswin"},
    "lia": {"lia", "float"},
    "stylegan-1-d": {"stylegan", "pggan"},
}
REFUSALS = (errors.UnknownKeys, errors.Undecided, errors.UnfitTensor, errors.WrongForm)
each_network = pytest.mark.parametrize("network", NETWORKS)


@each_network
def test_the_constant_of_every_key(network):
    """Each tensor is multiplied by the constant written beside it, or is what was given."""
    family, facts, state = stored(network)
    constants = NETWORKS[network][2]
    steps = {step.key: step for step in explain(state, family, **facts)}
    assert list(steps) == list(state)
    for key, (_, constant) in constants.items():
        scale = steps[key].scale
        if constant is None:
            assert scale is None, key
        else:
            assert scale == pytest.approx(constant, rel=4e-16), key
    plain = to_plain(state, family, **facts)
    for key, step in steps.items():
        if step.name:
            total = state[key].sum() * (step.scale or 1.0)
            torch.testing.assert_close(plain[step.name].sum(), total, rtol=1e-12, atol=1e-12)


@each_network
def test_the_way_back(network):
    """`from_plain` gives back every key, within one unit in the last place for two roundings."""
    family, facts, state = stored(network)
    again = from_plain(to_plain(state, family, **facts), family, **facts)
    assert set(again) == set(state)
    for key, value in again.items():
        assert_ulps(value, state[key], 1)


@each_network
def test_no_other_family_takes_it_in_silence(network):
    """Under a wrong name a network is refused, and the right one is proposed."""
    family, _, state = stored(network)
    assert family in guess(state)
    others = set(families()) - SAME.get(network, {family})
    for other in sorted(others):
        with pytest.raises(REFUSALS) as caught:
            to_plain(state, other)
        if caught.type in (errors.UnknownKeys, errors.WrongForm):
            assert family in str(caught.value)


def test_every_family_has_networks():
    """No family is without a sample above."""
    assert {family for family, *_ in NETWORKS.values()} == set(families())


powers = st.integers(-8, 8).map(lambda k: 4.0**k)


@given(seeds, powers, powers, st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
def test_round_trips_are_exact_for_powers_of_two(seed, gain, lr_mul, dtype):
    """Fans of powers of four and such gains give powers of two: every bit comes back."""
    torch.manual_seed(seed)
    state = {
        "mapping.FC.0.module.weight": torch.randn(3, 4, dtype=dtype),
        "mapping.FC.0.module.bias": torch.randn(3, dtype=dtype),
        "conv0.module.weight": torch.randn(3, 4, 2, 2, dtype=dtype),
        "conv0.module.bias": torch.randn(3, dtype=dtype),
    }
    facts = {"gain": gain, "lr_mul": lr_mul}
    again = from_plain(to_plain(state, "gan-zoo", **facts), "gan-zoo", **facts)
    for key, value in state.items():
        assert_equal(again[key], value)


@given(seeds, st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.sampled_from(sorted(NETWORKS)))
def test_round_trips_are_two_roundings_otherwise(seed, gain, lr_mul, network):
    """One rounding on the way there, one on the way back: two units in the last place at most."""
    torch.manual_seed(seed)
    family, facts, state = stored(network, torch.float32)
    if family in ("pggan", "gan-zoo", "genforce", "alae", "rosinality-stylegan"):
        facts = {**facts, "gain": gain}
    if family in ("stylegan2-ada", "basicsr", "alae", "mmgen"):
        facts = {**facts, "lr_mul": lr_mul}
    again = from_plain(to_plain(state, family, **facts), family, **facts)
    for key, value in state.items():
        assert_ulps(again[key], value, 2)


def test_a_forgotten_fact_is_seen():
    """Negative control: another gain on the way back gives other numbers."""
    state = {"decisionLayer.module.weight": torch.randn(1, 5)}
    again = from_plain(to_plain(state, "gan-zoo"), "gan-zoo", gain=1.0)
    with pytest.raises(AssertionError, match="ulps apart"):
        assert_ulps(*(d["decisionLayer.module.weight"] for d in (again, state)), 2)


def test_what_is_given_stays_as_it_is():
    """The argument is not changed, and nothing that is scaled shares its memory."""
    family, _, state = stored("rosinality-stylegan2")
    before = copy.deepcopy(state)
    plain = to_plain(state, family)
    from_plain(plain, family)
    for step in explain(state, family):
        assert_equal(state[step.key], before[step.key])
        shared = plain[step.name].data_ptr() == state[step.key].data_ptr()
        assert shared is (step.scale is None)


def test_parameters_become_tensors():
    """Parameters, as `state_dict(keep_vars=True)` has them, give tensors without gradients."""
    state = {"style.1.weight": torch.nn.Parameter(torch.ones(4, 4))}
    plain = to_plain(state, "rosinality-stylegan2")
    assert not plain["style.1.weight"].requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtypes_are_kept(dtype):
    """Half precision stays half precision."""
    plain = to_plain({"style.1.weight": torch.ones(4, 4, dtype=dtype)}, "rosinality-stylegan2")
    assert plain["style.1.weight"].dtype == dtype


def test_ties_stay_ties():
    """One tensor under two names is one tensor in the result, in both directions."""
    weight = torch.randn(4, 4)
    state = {"style.1.weight": weight, "style.2.weight": weight}
    plain = to_plain(state, "rosinality-stylegan2")
    assert plain["style.1.weight"] is plain["style.2.weight"]
    again = from_plain(plain, "rosinality-stylegan2")
    assert again["style.1.weight"] is again["style.2.weight"]


def test_a_tie_of_two_scales_is_refused():
    """One tensor that two layers scale differently cannot stay one: that is an error."""
    weight = torch.randn(4, 4)
    state = {"style.1.weight": weight, "final_linear.0.weight": weight}
    with pytest.raises(errors.ConflictingTie, match=r"'final_linear\.0\.weight' needs"):
        to_plain(state, "rosinality-stylegan2")


def test_meta_tensors():
    """Tensors without memory are converted by name and shape; they are not taken for ties."""
    state = {
        "style.1.weight": torch.empty(4, 4, device="meta"),
        "final_linear.0.weight": torch.empty(4, 4, device="meta"),
    }
    assert to_plain(state, "rosinality-stylegan2")["style.1.weight"].is_meta


def test_numpy_arrays():
    """Arrays of numpy are taken, in any order of memory, and read-only ones."""
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    array.setflags(write=False)
    state = {"4x4/Dense1/weight": array[:, ::-1], "lod": np.float32(0.0)}
    plain = to_plain(state, "pggan")
    expected = torch.from_numpy(array[:, ::-1].copy()).T / math.sqrt(3)
    assert_ulps(plain["4x4.Dense1.weight"], expected, 1)
    assert plain["lod"].shape == ()
    with pytest.raises(errors.NotAStateDict, match="no array of numbers"):
        to_plain({"lod": np.array(["a"], dtype=object)}, "pggan")


def test_data_parallel_prefixes():
    """The prefix that DataParallel leaves is kept."""
    assert list(to_plain({"module.style.1.weight": torch.ones(4, 4)}, "rosinality-stylegan2")) == [
        "module.style.1.weight"
    ]


def refused(error, state, family, match, **facts):
    with pytest.raises(error, match=match):
        to_plain(state, family, **facts)


def test_refusals():
    """Each refusal names what was given."""
    ones = torch.ones(4, 4)
    refused(errors.UnknownFamily, {}, "stylegan4", "no family is called 'stylegan4'")
    refused(errors.UnknownFact, {}, "basicsr", "'gain' is no fact of basicsr", gain=1)
    refused(errors.InvalidArgument, {}, "basicsr", "lr_mul=-1", lr_mul=-1)
    refused(errors.InvalidArgument, {}, "alae", "form='both'", form="both")
    refused(errors.NotAStateDict, [ones], "basicsr", "got a list")
    refused(errors.NotAStateDict, {"g_ema": {"a": ones}}, "basicsr", "It holds: g_ema")
    refused(errors.NotAStateDict, {"args": 3}, "basicsr", "'args' is a int")
    refused(errors.NotAStateDict, {3: ones}, "basicsr", "key 3")
    refused(errors.UnknownKeys, {"a.b": ones}, "basicsr", r"'a\.b' \(4, 4\)")
    refused(errors.UnknownKeys, {"style.1.weight": ones}, "basicsr", "like rosinality-stylegan2")
    integers = {"style_mlp.1.weight": ones.int()}
    refused(
        errors.UnfitTensor,
        integers,
        "basicsr",
        r"^'style_mlp\.1\.weight' of shape .* is of torch.int32, .* an ordinary floating-",
    )
    empty = {"style_mlp.1.weight": torch.ones(4, 0)}
    refused(
        errors.UnfitTensor,
        empty,
        "basicsr",
        r"^'style_mlp\.1\.weight' of shape .* c = inf, where this family has a positive",
    )
    flat = {"style_convs.0.modulated_conv.weight": ones}
    refused(
        errors.UnfitTensor,
        flat,
        "basicsr",
        r"^'style_convs.*has 2 axes, where this family has 5 axes\.",
    )
    twice = {"4x4/Conv/bias": ones[0], "4x4.Conv/bias": ones[0]}
    refused(errors.AmbiguousState, twice, "pggan", r"4x4/Conv/bias.*4x4\.Conv/bias.*given twice")
    both = {"a.weight": ones, "a.weight_ori": ones, "a.weight_scale": torch.tensor(1.0)}
    refused(errors.AmbiguousState, both, "imaginaire", "given twice")
    half = {"style_mlp.1.weight": torch.full((4, 4), 6e4, dtype=torch.float16)}
    refused(
        errors.UnscalableValues,
        half,
        "basicsr",
        r"style_mlp\.1\.weight.*does not fit into torch.float16",
        lr_mul=9,
    )


def test_all_unknown_keys_are_named():
    """The error has every unknown key as data, and the first fifty in its text."""
    state = {f"what.{i}": torch.ones(2) for i in range(60)}
    with pytest.raises(
        errors.UnknownKeys, match=r"60 key\(s\).*'what\.49' \(2,\) and 10 more"
    ) as e:
        to_plain(state, "basicsr")
    assert [key for key, _ in e.value.keys] == list(state)


def test_arrays_of_other_machines():
    """Arrays of the other byte order, and in columns, have the values that they have."""
    weight = np.arange(16.0, dtype=np.float32).reshape(4, 4)
    for array in (weight.astype(">f4"), np.asfortranarray(weight)):
        plain = to_plain({"style_mlp.1.weight": array}, "basicsr", lr_mul=0.5)
        assert_equal(plain["style_mlp.1.weight"], torch.from_numpy(weight) * 0.25)
        assert plain["style_mlp.1.weight"].is_contiguous()
