"""State_dicts: what they hold, what they say of themselves, and their parts."""

import pytest
import torch

from equalized_lr import errors
from equalized_lr.checkpoint import from_plain, to_plain
from equalized_lr.checkpoint.state import State, metadata_of

STORED = {"style.1.weight": torch.ones(4, 4)}
FAMILY = "rosinality-stylegan2"


def test_a_result_is_marked():
    """Plain is not made plain again, nor stored stored; forwards and back goes on for ever."""
    plain = to_plain(STORED, FAMILY)
    with pytest.raises(errors.WrongForm, match="has the plain weights of rosinality-stylegan2"):
        to_plain(plain, FAMILY)
    with pytest.raises(errors.WrongForm, match="plain"):
        to_plain(plain, "basicsr")
    again = from_plain(plain, FAMILY)
    with pytest.raises(errors.WrongForm, match="has the stored weights"):
        from_plain(again, FAMILY)
    with pytest.raises(errors.WrongForm, match="has the stored weights"):
        to_plain(again, "basicsr")
    assert torch.equal(to_plain(again, FAMILY)["style.1.weight"], plain["style.1.weight"])


def test_a_mark_is_no_hindrance_to_torch():
    """A module loads a marked result, and what it saves then is not marked."""
    inner = torch.nn.Linear(4, 4, bias=False)
    net = torch.nn.ModuleDict({"style": torch.nn.Sequential(torch.nn.ReLU(), inner)})
    net.load_state_dict(to_plain(STORED, FAMILY))
    assert not list(State.of(net.state_dict()).forms())


def test_parts_are_marked_by_themselves():
    """Two networks of one file are converted one after the other, each of them once."""
    both = {f"{name}.{key}": t for name in "ab" for key, t in STORED.items()}
    first = to_plain(both, FAMILY, prefix="a", rest="keep")
    second = to_plain(first, FAMILY, prefix="b", rest="keep")
    assert float(second["a.style.1.weight"][0, 0]) == pytest.approx(0.005)
    assert float(second["b.style.1.weight"][0, 0]) == pytest.approx(0.005)
    for prefix in ("a", "b", "a.style"):
        with pytest.raises(errors.WrongForm):
            to_plain(second, FAMILY, prefix=prefix, rest="keep")


def test_prefixes_that_are_none():
    """A prefix that no key has, and a rest without a prefix."""
    with pytest.raises(errors.InvalidArgument, match=r"prefix='net\.'"):
        to_plain(STORED, FAMILY, prefix="net.", rest="drop")
    with pytest.raises(errors.InvalidArgument, match="rest='keep'.*prefix="):
        to_plain(STORED, FAMILY, rest="keep")
    with pytest.raises(errors.InvalidArgument, match="'keep' or 'drop'"):
        to_plain(STORED, FAMILY, prefix="style.", rest="delete")


def test_parts_and_metadata():
    """A part has the metadata of its own modules; what is no metadata is left out."""
    state = State(
        {"a.b.w": torch.ones(1), "c": torch.ones(1)}, {"": {}, "a.": {}, "a.b.": {"x": 1}}
    )
    part = state.part("a.")
    assert list(part.tensors) == ["b.w"]
    assert part.metadata == {"": {}, "b.": {"x": 1}}
    assert metadata_of({}) == {}
    result = state.as_dict()
    result._metadata = {"a": 3, 4: {}, "b": {"y": 2}}
    assert metadata_of(result) == {"b.": {"y": 2}}
