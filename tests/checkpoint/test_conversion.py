"""The arithmetic of conversions."""

import pytest
import torch

from equalized_lr import errors
from equalized_lr.checkpoint.conversion import Conversion, convert_tensors, refuse_twice
from tests.support.assertions import assert_equal


def test_axes_and_mirror_go_there_and_back():
    """Scale, order of axes and mirror are undone in reverse."""
    tensor = torch.randn(3, 3, 4, 5)
    one = Conversion.scaled("a", "b", tensor, 0.5, "kernel", order=(3, 2, 0, 1), flip=True)
    plain = convert_tensors({"a": tensor}, [one], back=False)["b"]
    assert_equal(plain, 0.5 * tensor.permute(3, 2, 0, 1).flip(2, 3))
    other = Conversion.scaled("b", "a", plain, 0.5, "kernel", order=(3, 2, 0, 1), flip=True)
    assert_equal(convert_tensors({"b": plain}, [other], back=True)["a"], tensor)


def test_what_is_left_alone_is_the_same_memory():
    """A tensor without a scale is passed on, and one without a name is left out."""
    tensors = {"a": torch.ones(2), "b": torch.ones(2)}
    alone = Conversion.alone("a", "c", tensors["a"], "bias")
    result = convert_tensors(
        tensors, [alone, Conversion.alone("b", "", tensors["b"], "")], back=False
    )
    assert list(result) == ["c"]
    assert result["c"].data_ptr() == tensors["a"].data_ptr()


def test_names_behind_a_prefix():
    """A prefix goes before both names; what has no name in the result stays without one."""
    tensor = torch.ones(2)
    assert Conversion.alone("a", "b", tensor, "").behind("x.").name == "x.b"
    assert Conversion.alone("a", "", tensor, "").behind("x.") == Conversion.alone(
        "x.a", "", tensor, ""
    )


def test_two_tensors_of_one_name():
    """One of them would be lost, so both are named."""
    tensor = torch.ones(2)
    with pytest.raises(errors.AmbiguousState, match=r"'a\.b'.*'a/b'"):
        refuse_twice([Conversion.alone(key, "a.b", tensor, "") for key in ("a.b", "a/b")])
    refuse_twice([Conversion.alone(key, "", tensor, "") for key in ("a.b", "a/b")])
