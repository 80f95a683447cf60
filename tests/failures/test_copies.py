"""Copies: deepcopy, pickle, averages."""

import copy
import io
import pickle

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tests.support.mechanisms import close, common_hook, net, x


class Custom(nn.Linear):
    """A layer with attributes of its own, one of which needs the weight."""

    def __init__(self):
        super().__init__(6, 3)
        self.note = {"of": "mine"}

    @property
    def norm(self):
        return self.weight.norm()


def saved(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@common_hook("holds")
def test_deepcopy_before_a_forward(mechanism):
    """Original and copy train apart from each other."""
    model, plain = mechanism.twins(net())
    twin, plain_twin = copy.deepcopy(model), copy.deepcopy(plain)
    mechanism.assert_alike(model, plain, x())
    mechanism.assert_alike(twin, plain_twin, x(seed=1))
    mechanism.assert_alike(model, plain, x())


@common_hook("error")
def test_deepcopy_after_a_forward(mechanism):
    """A graph that is alive does not keep a model from being copied."""
    model, plain = mechanism.twins(net())
    kept = model(x())
    twin, plain_twin = copy.deepcopy(model), copy.deepcopy(plain)
    mechanism.assert_alike(twin, plain_twin, x())
    kept.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@common_hook("holds")
def test_giving_back_one_of_two(mechanism):
    """Removal from the original does not touch the copy, nor the other way round."""
    model, plain = mechanism.twins(net())
    twin, plain_twin = copy.deepcopy(model), copy.deepcopy(plain)
    mechanism.unwrap(model)
    mechanism.assert_alike(twin, plain_twin, x())
    mechanism.assert_alike(model, plain, x())
    mechanism.unwrap(twin)
    mechanism.assert_alike(twin, plain_twin, x())


@common_hook("holds")
def test_pickle(mechanism):
    """A pickled model is the same function, and trains."""
    model, plain = mechanism.twins(net())
    twin = pickle.loads(pickle.dumps(model))
    mechanism.assert_alike(twin, plain, x())


@common_hook("holds")
def test_save_whole_model_after_training(mechanism):
    """torch.save of a model that has been trained."""
    model, plain = mechanism.twins(net())
    mechanism.assert_alike(model, plain, x())
    twin = saved(model)
    mechanism.assert_alike(twin, plain, x())


@common_hook("error")
def test_averages(mechanism):
    """The average over training of stored weights, as effective ones, is that of a plain twin."""
    model, plain = mechanism.twins(net())
    mechanism.assert_alike(model, plain, x())
    averages = [AveragedModel(m, multi_avg_fn=get_ema_multi_avg_fn(0.5)) for m in (model, plain)]
    for _ in range(3):
        mechanism.assert_alike(model, plain, x())
        for average, m in zip(averages, (model, plain), strict=True):
            average.update_parameters(m)
    close(averages[0].module[0].weight, averages[1].module[0].weight)
    close(averages[0](x()), averages[1](x()))


@common_hook("error")
def test_layers_of_ones_own(mechanism):
    """Attributes and properties of a subclass survive equalizing, copying and giving back."""
    model, plain = mechanism.twins(Custom())
    mechanism.assert_alike(model, plain, x())
    twin = copy.deepcopy(model)
    twin.note["of"] = "the copy"
    assert isinstance(twin, Custom)
    assert model.note == {"of": "mine"}
    close(twin.norm, plain.norm)
    close(mechanism.unwrap(twin).norm, plain.norm)
