"""`equalize_lr(model, fans=observe(model, x))` on models that nobody here wrote."""

import copy

import pytest
import torch

from equalized_lr import LeftAlone, equalize_lr, he_scales, observe, remove_equalized_lr
from tests.integration.test_foreign_models import output
from tests.integration.test_observed_models import UNKNOWN
from tests.support.foreign_models import MODELS

# A third of the models that are known, and all that are not.
# RecurrentGemma cannot be copied after a forward, and Rwkv fails in its second backward, plain too.
ODD = ("RecurrentGemma", "Rwkv")
CASES = [*MODELS[::3], *(case for case, _ in UNKNOWN if not str(case.id).startswith(ODD))]


@pytest.mark.filterwarnings("ignore")  # of the other libraries, about themselves
@pytest.mark.parametrize(("make", "inputs"), CASES)
def test_one_call_covers_a_model(make, inputs):
    """All that is contracted is equalized and keeps the function; each weight steps by lr.

    In single precision, which the kernels of mixtures of experts need; c * (w / c) is off by an
    ulp of 6e-8, which deep models amplify by their norms.
    """
    model = make().eval()
    expected, plain = output(model, inputs), copy.deepcopy(model)
    fans = observe(model, **inputs)
    equalize_lr(model, fans=fans, init="keep")
    scales = he_scales(model)
    sizes = {name: plain.get_parameter(name).numel() for name in fans}
    assert sum(sizes[name] for name in sizes if name in scales) >= 0.95 * sum(sizes.values())
    torch.testing.assert_close(output(model, inputs), expected, rtol=1e-3, atol=1e-3)

    output(model, inputs).square().mean().backward()
    stored = [p for name, p in model.named_parameters() if name.endswith("_orig")]
    before = [p.detach().clone() for p in stored]
    torch.optim.Adam(model.parameters(), lr=0.25, eps=1e-30).step()
    assert any(p.grad is not None for p in stored)
    for parameter, start in zip(stored, before, strict=True):
        if parameter.grad is not None:
            moved = parameter.grad.abs() > 1e-15  # whose square is no zero in single precision
            step = (parameter - start)[moved].abs()
            torch.testing.assert_close(step, torch.full_like(step, 0.25), rtol=1e-4, atol=1e-5)

    remove_equalized_lr(model)
    assert list(model.state_dict()) == list(plain.state_dict())
    assert [type(m) for m in model.modules()] == [type(m) for m in plain.modules()]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_test_would_see_weights_left_alone():
    """Negative control: without fans most of a Mixtral is left alone, with a word."""
    make, inputs = UNKNOWN[0][0].values
    model = make().eval()
    fans = observe(model, **inputs)
    with pytest.warns(LeftAlone, match="MixtralExperts"):
        equalize_lr(model, init="keep")
    scales = he_scales(model)
    sizes = {name: p.numel() for name, p in make().named_parameters()}
    covered = sum(sizes[name] for name in fans if name in scales)
    assert covered < 0.95 * sum(sizes[name] for name in fans)
