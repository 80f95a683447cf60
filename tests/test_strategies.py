"""The strategies reach what they promise."""

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import find as find_smallest
from hypothesis import strategies as st

from equalized_lr import fans
from tests.support.strategies import CONVOLUTIONS, KINDS, samples


def find(strategy, condition):
    """The first example that meets a condition; the smallest one would take much longer."""
    return find_smallest(
        strategy, condition, settings=settings(phases=[Phase.generate], max_examples=10_000)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_occurs_and_runs(kind):
    """A sample of each kind can be called and has at least one weight with a fan."""
    sample = find(samples(kinds=(kind,)), lambda _: True)
    assert type(sample.layer).__name__ == kind.split()[0]
    assert sample.call().isfinite().all()
    assert fans(sample.layer)


@pytest.mark.parametrize("kind", CONVOLUTIONS)
@pytest.mark.parametrize(
    "oddity",
    [
        lambda layer: layer.groups > 1,
        lambda layer: layer.groups == layer.in_channels == layer.out_channels > 1,
        lambda layer: max(layer.stride) > 1,
        lambda layer: max(layer.dilation) > 1,
        lambda layer: len(set(layer.kernel_size)) > 1 or len(layer.kernel_size) == 1,
        lambda layer: layer.bias is None,
    ],
    ids=["groups", "depthwise", "stride", "dilation", "odd kernel", "no bias"],
)
def test_odd_convolutions_occur(kind, oddity):
    """Each kind of convolution comes with groups, strides, dilation and kernels of one."""
    assert find(samples(kinds=(kind,)), lambda sample: oddity(sample.layer))


def test_a_fan_of_one_occurs():
    """Some layer's response has a single connection."""
    assert find(samples(), lambda sample: any(f.fan_in == 1 for f in fans(sample.layer).values()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_both_precisions_occur(dtype):
    """Layers come in single and in double precision."""
    assert find(samples(), lambda sample: next(sample.layer.parameters()).dtype == dtype)


@given(st.data())
def test_torch_is_seeded_by_hypothesis(data):
    """Two draws of one example in a row do not repeat, and each run of the example does."""
    assert not torch.equal(torch.rand(4), torch.rand(4))
    assert torch.initial_seed() == 0
