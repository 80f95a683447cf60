"""The fans that contractions show, beside sums that are written out."""

import pytest
import torch

from equalized_lr.plan.contraction import CONTRACTIONS, FUSED, SUMS

A, B, V = torch.ones(2, 8), torch.ones(8, 3), torch.ones(8)
BATCH = torch.ones(5, 2, 8), torch.ones(5, 8, 3)
QUERIES, KEYS = torch.ones(1, 2, 6, 4), torch.ones(1, 2, 7, 4)

# fmt: off
MATRICES = {
    "mm": ((A, B), (8, 2), (8, 3)),
    "bmm": (BATCH, (8, 2), (8, 3)),
    "mv": ((A, V), (8, 2), (8, 1)),
    "dot": ((V, V), (8, 1), (8, 1)),
    "addmm": ((torch.ones(3), A, B), (8, 2), (8, 3)),
    "baddbmm": ((torch.ones(3), *BATCH), (8, 2), (8, 3)),
    "addmv": ((torch.ones(2), A, V), (8, 2), (8, 1)),
    "_grouped_mm": ((A, BATCH[1]), (8, 2), (8, 3)),
    "linear": ((A, B.T), (8, 2), (8, 3)),
    "_scaled_dot_product_flash_attention_for_cpu": ((QUERIES, KEYS, KEYS), (4, 6), (4, 7)),
}
# fmt: on


@pytest.mark.parametrize(("name", "case"), MATRICES.items(), ids=MATRICES)
def test_matrices(name, case):
    """The contracted length goes into a response, and the weight's other axis out of an input."""
    args, left, right = case
    contraction = CONTRACTIONS[name](args)
    assert [side.fan[:2] for side in contraction.sides] == [left, right]
    assert contraction.weight is None
    assert contraction.bias == (name not in ("mm", "bmm", "mv", "dot", "_grouped_mm"))
    assert contraction.sides[1].tensor is args[-1 if name.startswith("add") else 1] or len(args) > 2


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("stride", [[1, 1], [2, 1], [3]])
@pytest.mark.parametrize("transposed", [False, True])
def test_convolutions(transposed, stride, groups):
    """Both numbers, counted: on ones a response is its connections, and so is a gradient.

    The windows are whole numbers of strides wide, far from the borders.
    """
    shape = (2 * groups, 3, 3, 3) if transposed else (3 * groups, 2, 3, 3)
    weight, x = torch.ones(shape), torch.ones(1, 2 * groups, 24, 24, requires_grad=True)
    args = (x, weight, None, stride, [0, 0], [1, 1], transposed, [0, 0], groups)
    contraction = CONTRACTIONS["convolution"](args)
    assert (contraction.weight, contraction.bias) == (1, False)
    assert CONTRACTIONS["convolution"]((x, weight, torch.ones(1), *args[3:])).bias
    assert contraction.sides[1].tensor is weight

    out = torch.convolution(*args)
    out.sum().backward()
    responses, gradients = out[0, 0, 3:, 3:][:3, :3], x.grad[0, 0, 6:18, 6:18]
    if transposed:
        responses = out[0, 0, 12:18, 12:18]
    fan = contraction.sides[1].fan
    assert (fan.fan_in, fan.fan_out) == (responses.mean().item(), gradients.mean().item())


def test_names():
    """No operation contracts both openly and not."""
    assert not FUSED & set(CONTRACTIONS)
    assert not SUMS & (FUSED | set(CONTRACTIONS))
