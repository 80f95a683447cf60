"""Law 11: the table is what is observed.

For layers of every kind, with all groups, strides, dilations and directions, `fans` equals what
`observe` reads from a forward; so each checks the other:

- with the table, all of it, also for kernels that show nothing (LSTM, Bilinear);
- without it, by the operations alone, for all kinds whose operations show what they contract. Only
  the fan_out of attention's packed projections differs: one operation, three times the width.
"""

from contextlib import contextmanager
from unittest.mock import patch

import pytest
import torch
from hypothesis import given

from equalized_lr import Fan, equalize_lr, fans, observe
from tests.support.strategies import KINDS, samples

FUSED = ("Bilinear", "LSTM")
VISIBLE = tuple(kind for kind in KINDS if kind not in (*FUSED, "MultiheadAttention"))


def table(module):
    """What the function `fans` says of a whole tree."""
    return {
        f"{path}.{name}" if path else name: fan
        for path, layer in module.named_modules()
        for name, fan in fans(layer).items()
    }


@contextmanager
def another_table(rule):
    """Inside, `observe` takes a layer's fans from this function."""
    with patch("equalized_lr.plan.slots.fans", rule):
        yield


def numbers(result):
    return {name: fan[:2] for name, fan in result.items()}


@given(samples())
def test_the_table_is_what_is_observed(sample):
    """Every kind, whole: fan_in, fan_out, and the names of biases."""
    assert observe(sample.layer, *sample.inputs) == table(sample.layer)


@given(samples())
def test_equalized_layers_show_the_same(sample):
    """Their names are the plain ones and their own constants are none."""
    expected = table(sample.layer)
    assert observe(equalize_lr(sample.layer), *sample.inputs) == expected


@given(samples(VISIBLE))
def test_operations_show_what_the_table_says(sample):
    """Without the table: the operations alone show both numbers."""
    with another_table(lambda layer: {}):
        observed = observe(sample.layer, *sample.inputs)
    assert numbers(observed) == numbers(table(sample.layer))


@given(samples(("MultiheadAttention",)))
def test_packed_projections(sample):
    """Without the table: three projections in one have the fan_in of each."""
    with another_table(lambda layer: {}):
        observed = observe(sample.layer, *sample.inputs)
    width = sample.layer.embed_dim
    assert observed["in_proj_weight"].fan_in == width
    assert observed["in_proj_weight"].fan_out in (width, 2 * width, 3 * width)
    assert observed["out_proj.weight"] == Fan(width, width)


@given(samples(VISIBLE))
def test_a_wrong_table_is_not_what_is_observed(sample):
    """Negative control: a table that is off by one is not believed."""

    def wrong(layer):
        return {name: Fan(fan.fan_in + 1, fan.fan_out) for name, fan in fans(layer).items()}

    with another_table(wrong):
        assert numbers(observe(sample.layer, *sample.inputs)) == numbers(table(sample.layer))


def test_layers_that_show_nothing_need_the_table():
    """Negative control: without it, fused kernels give no fan, and say so."""
    layer = torch.nn.Bilinear(2, 3, 4)
    with another_table(lambda layer: {}), pytest.warns(UserWarning, match="_trilinear"):
        assert observe(layer, torch.ones(5, 2), torch.ones(5, 3)) == {}
