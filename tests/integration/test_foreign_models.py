"""Models that nobody here wrote: equalize, train, copy, save, give back."""

import copy
import pickle

import diffusers
import pytest
import torch
import transformers

from equalized_lr import equalize_lr, he_scales, plain_state_dict, remove_equalized_lr
from tests.support.assertions import assert_equal
from tests.support.foreign_models import MODELS


def output(model, inputs):
    out = model(**inputs)
    while not isinstance(out, torch.Tensor):
        out = out[0]
    return out


def train(model, inputs, steps):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        output(model, inputs).square().mean().backward()
        optimizer.step()


def again(model, state, make, path):
    """A plain model of what was saved, by the model's own `save_pretrained` if it takes a state."""
    if isinstance(model, transformers.PreTrainedModel):
        model.save_pretrained(path, state_dict=state)
        return type(model).from_pretrained(path, dtype=torch.float64).eval()
    plain = make().eval().double()
    plain.load_state_dict(state)
    if isinstance(plain, diffusers.ModelMixin):
        plain.save_pretrained(path)
        return type(plain).from_pretrained(path, torch_dtype=torch.float64).eval()
    return plain


# transformers' deep models amplify the rounding of single weights by their norms and residuals;
# in double precision 1e-9 still leaves six digits between that and any real difference.
def assert_close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("make", "inputs"), MODELS)
def test_a_model_of_others(make, inputs, tmp_path):
    """The function is kept, all weights train, copies work, and all comes back as it was."""
    model = make().eval().double()
    inputs = {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}
    keys, expected = list(model.state_dict()), output(model, inputs)
    plain = copy.deepcopy(model)
    output(plain, inputs).square().mean().backward()

    equalize_lr(model, init="keep")
    scales = he_scales(model)
    assert_close(output(model, inputs), expected)
    output(model, inputs).square().mean().backward()
    for name, parameter in plain.named_parameters():
        stored = model.get_parameter(f"{name}_orig" if name in scales else name)
        if parameter.grad is None:
            assert stored.grad is None
        else:
            assert_close(stored.grad, parameter.grad * scales.get(name, 1.0))

    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    train(model, inputs, 3)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and parameter.grad.any():
            assert not torch.equal(parameter, before[name]), name

    trained = output(model, inputs)
    twin, loaded = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    assert_equal(output(twin, inputs), trained)
    assert_close(output(loaded, inputs), trained)
    state = plain_state_dict(model)
    assert list(state) == keys
    assert_close(output(again(model, state, make, tmp_path), inputs), trained)
    remove_equalized_lr(model)
    assert_close(output(model, inputs), trained)
    assert list(model.state_dict()) == keys
    assert_equal(output(twin, inputs), trained)
