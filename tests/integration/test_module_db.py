"""torch's own table of modules and sample inputs, through equalized modules."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.testing._internal.common_modules import module_db

from equalized_lr import equalize_lr, is_equalized, remove_equalized_lr

SAMPLES = 8  # of each row, evenly; all of them take seven minutes


def samples(info, training):
    """The modules of one row that have weights, each with its inputs, in double precision."""
    inputs = info.module_inputs_func(
        info, device="cpu", dtype=torch.float64, requires_grad=False, training=training
    )
    for sample in inputs:
        built = sample.constructor_input
        module = info.module_cls(*built.args, **built.kwargs).double().train(training)
        if sample.forward_input is not None and equalizable(module):
            yield module, sample.forward_input


def equalizable(module):
    try:
        equalize_lr(copy.deepcopy(module), init="keep", fans={})
    except ValueError:  # nothing to equalize
        return False
    return True


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch's samples are odd on purpose
    ROWS = {
        info.name: info
        for info in module_db
        if not info.module_cls.__name__.startswith("Lazy") and next(samples(info, False), None)
    }


def outputs(module, call):
    torch.manual_seed(0)
    result = module(*copy.deepcopy(call.args), **copy.deepcopy(call.kwargs))
    return [t for t in torch.utils._pytree.tree_leaves(result) if isinstance(t, torch.Tensor)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("row", ROWS)
def test_equalized_modules_compute_the_same(row, training):
    """Each sample gives the plain module's outputs, and removal the plain module.

    In double precision, where c * (w / c) differs from w by one rounding of 1e-16.
    """
    every = list(samples(ROWS[row], training))
    for module, call in every[:: max(1, len(every) // SAMPLES)]:
        plain = copy.deepcopy(module)
        equalize_lr(module, init="keep", fans={})
        assert any(map(is_equalized, module.modules()))
        for ours, theirs in zip(outputs(module, call), outputs(plain, call), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)
        remove_equalized_lr(module)
        assert not any(map(is_equalized, module.modules()))
        assert list(module.state_dict()) == list(plain.state_dict())


def test_the_table_is_not_empty():
    """All kinds of layers that are known are among its rows."""
    kinds = {info.module_cls for info in ROWS.values()}
    layers = (nn.Linear, nn.Bilinear, nn.Conv2d, nn.ConvTranspose3d, nn.LSTM, nn.GRUCell)
    assert kinds >= {*layers, nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.Transformer}
