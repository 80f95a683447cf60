"""What a state_dict looks like: the best family, behind a prefix too, and never in a circle."""

import pytest
import torch

from equalized_lr import errors
from equalized_lr.checkpoint import families, guess, to_plain
from equalized_lr.checkpoint.likeness import likenesses, refuse_stored
from equalized_lr.checkpoint.state import State
from tests.support.samples import NETWORKS, stored


def ones(*keys):
    return {key: torch.ones(4, 4) for key in keys}


@pytest.mark.parametrize("network", [name for name in NETWORKS if name != "equalized-lr"])
@pytest.mark.parametrize("prefix", ["net.", "model.G."])
def test_a_prefix_is_seen_through(network, prefix):
    """Beside an encoder's keys, each network is found behind its prefix."""
    family, _, state = stored(network)
    state = {prefix + key: tensor for key, tensor in state.items()}
    state |= {f"encoder.body.{i}.w": torch.ones(2) for i in range(2 * len(state))}
    likely = {(like.family, like.prefix) for like in likenesses(State.of(state))}
    assert any(name == family and prefix.startswith(start) for name, start in likely)


def test_nothing_is_like_nothing():
    """Names that no family knows, and no names at all."""
    assert guess({}) == []
    assert guess(ones("a.b", "c")) == []


def test_a_file_that_two_families_half_know():
    """Where neither knows more than the other, neither sends to the other."""
    state = ones("style.1.weight", "style.2.weight", "style_mlp.1.weight", "style_mlp.2.weight")
    assert set(guess(state)) == {"rosinality-stylegan2", "basicsr"}
    for family in guess(state):
        with pytest.raises(errors.UnknownKeys) as caught:
            to_plain(state, family)
        assert "Keys are not guessed: remove those" in str(caught.value)


@pytest.mark.parametrize("network", NETWORKS)
def test_advice_ends(network):
    """Following the advice from any family leads on to more known keys, so it comes to an end."""
    _, _, state = stored(network)
    state = {**state, "something.else": torch.ones(3)}
    leads = {}
    for family in families():
        try:
            to_plain(state, family)
        except errors.UnknownKeys as error:
            leads[family] = {name for name in families() if f" {name}." in f"{error} "}
        except errors.EqualizedLRError:
            continue
    for family, others in leads.items():
        for other in others:
            assert family not in leads.get(other, set()), (family, other)


def test_no_key_is_known():
    """To remove all keys would be no help."""
    with pytest.raises(errors.UnknownKeys) as caught:
        to_plain(ones("a.b"), "basicsr")
    assert "remove" not in str(caught.value)
    assert str(caught.value).endswith("file comes from: this one knows no key of it.")


def test_names_that_no_plain_file_has():
    """Suffixes of equalization are a sign, those of torch's spectral norm and prune are not."""
    for keys in (["a.weight_orig"], ["a.weight_ori"]):
        with pytest.raises(errors.WrongForm):
            refuse_stored(State.of(ones(*keys)))
    refuse_stored(State.of(ones("a.weight_orig", "a.weight_u", "b.weight_orig", "b.weight_mask")))
    refuse_stored(State.of(ones("a.weight", "a.bias")))
