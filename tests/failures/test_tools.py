"""What other code does to whole models, their parameters and their gradients."""

import io
import multiprocessing

import pytest
import torch
from torch import nn
from torch.nn.utils import fusion, parameters_to_vector, vector_to_parameters
from torch.package import PackageExporter, PackageImporter
from torch.utils import swap_tensors

from equalized_lr import cached, equalize_lr, is_equalized
from tests.support.mechanisms import EQUALIZED, close, common_hook, net, x

FUTURES = {
    "swap": torch.__future__.set_swap_module_params_on_conversion,
    "overwrite": torch.__future__.set_overwrite_module_params_on_conversion,
}


class Lists(nn.Module):
    """Parameters in a list and a dict."""

    def __init__(self):
        super().__init__()
        self.list = nn.ParameterList(torch.randn(6, 6) for _ in range(2))
        self.dict = nn.ParameterDict({"a": torch.randn(6, 6)})

    def forward(self, inputs):
        for weight in (*self.list, self.dict["a"]):
            inputs = torch.tanh(inputs @ weight)
        return inputs


def double_in_place(model, pipe):
    with torch.no_grad():
        pipe.send(model(x()).numpy())
        model.weight_orig.mul_(2)


@pytest.mark.parametrize("future", FUTURES.values(), ids=FUTURES)
@common_hook("silent")
def test_conversions_of_the_future(mechanism, future):
    """Parameters whose insides, or which themselves, are exchanged by `.to` and a load."""
    model, plain = mechanism.twins(net())
    with torch.no_grad():
        close(model(x()), plain(x()))
    future(True)
    try:
        with cached():
            close(model[0].weight, plain[0].weight)
            model.float(), plain.float()
            assert model[0].weight.dtype == torch.float32
            model.load_state_dict(model.state_dict())
            torch.testing.assert_close(model(x().float()), plain(x().float()))
    finally:
        future(False)


def test_parameters_that_trade_places():
    """torch.utils.swap_tensors is seen inside `cached()`, too."""
    model, plain = EQUALIZED.twins(nn.Linear(6, 3))
    scale = EQUALIZED.scales(model)["weight"]
    with cached():
        close(model(x()), plain(x()).detach())
        swap_tensors(model.weight_orig, nn.Parameter(x(3, 6) / scale))
        close(model.weight, x(3, 6))


@common_hook("silent")
def test_parameters_as_a_vector(mechanism):
    """Parameters replaced by views of one vector."""
    model, plain = mechanism.twins(net())
    model(x())
    for twin in (model, plain):
        vector = parameters_to_vector(twin.parameters())
        vector_to_parameters(vector * 2, twin.parameters())
    close(model[0].weight, plain[0].weight)
    mechanism.assert_alike(model, plain, x())
    close(mechanism.unwrap(model)(x()), plain(x()))


def test_lists_and_dicts_of_parameters():
    """Each Parameter of a ParameterList or ParameterDict can be named."""
    plain = Lists().double()
    model = Lists().double()
    model.load_state_dict(plain.state_dict())
    for holder, name in ((model.list, "0"), (model.list, "1"), (model.dict, "a")):
        equalize_lr(holder, name, fan=6, gain=1.0, init="keep")
    EQUALIZED.assert_alike(model, plain, x())
    for twin in (model, plain):
        twin.list[0] = nn.Parameter(torch.eye(6, dtype=torch.float64))
        twin.list.append(nn.Parameter(torch.ones(6, 6, dtype=torch.float64)))
    close(model(x()), plain(x()))
    EQUALIZED.unwrap(model)
    assert list(model.state_dict()) == list(plain.state_dict())
    close(model(x()), plain(x()))


def test_folding_a_batch_norm():
    """fuse_conv_bn_eval assigns Parameters, which become effective weights."""
    model, plain = EQUALIZED.twins(nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3)))
    for twin in (model, plain):
        twin[1].running_var.fill_(0.3)
        twin.eval()
    fused = fusion.fuse_conv_bn_eval(*model)
    assert is_equalized(fused)
    close(fused(x(2, 2, 6)), plain(x(2, 2, 6)))
    close(model(x(2, 2, 6)), plain(x(2, 2, 6)))


def test_optimizers_in_backward():
    """Optimizers that step in the middle of backward, inside `cached()`."""
    model, plain = EQUALIZED.twins(net())
    with cached():
        for twin in (model, plain):
            for _, parameter, c in list(EQUALIZED.stored(twin)):
                optimizer = torch.optim.SGD([parameter], lr=0.1 / c**2)

                def step(parameter, optimizer=optimizer):
                    optimizer.step()
                    optimizer.zero_grad()

                parameter.register_post_accumulate_grad_hook(step)
            for _ in range(3):
                twin(x()).square().sum().backward()
        close(model[0].weight, plain[0].weight)
    close(model(x()), plain(x()))


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
@common_hook("holds")
def test_under_the_eyes_of_autograd(mechanism):
    """Anomaly detection, saved tensors kept elsewhere, and a hook that waits for all gradients."""
    model, plain = mechanism.twins(net())
    seen = []
    torch.autograd.graph.register_multi_grad_hook(
        list(model.parameters()), lambda grads: seen.append([grad is not None for grad in grads])
    )
    for twin in (model, plain):
        with torch.autograd.detect_anomaly(), torch.autograd.graph.save_on_cpu():
            loss = twin(x()).square().sum()
            loss.backward(retain_graph=True)
            loss.backward()
    mechanism.assert_gradients(model, plain)
    assert seen == [[True] * 4] * 2


def test_a_default_device():
    """A default device is not asked where an equalized layer's values are."""
    model, plain = EQUALIZED.twins(nn.Linear(6, 3))
    inputs = x()
    with torch.device("meta"):
        EQUALIZED.wrap(EQUALIZED.unwrap(model))
        EQUALIZED.assert_alike(model, plain, inputs)
        drawn = equalize_lr(EQUALIZED.unwrap(model))
        assert equalize_lr(nn.Linear(3, 3)).weight.is_meta
    assert drawn.weight_orig.std() > 0.5


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork")
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_another_process(start):
    """A model in shared memory computes there, and what is written there is read here."""
    model, plain = EQUALIZED.twins(nn.Linear(6, 3))
    model.share_memory()
    context = multiprocessing.get_context(start)
    here, there = context.Pipe()
    process = context.Process(target=double_in_place, args=(model, there))
    process.start()
    assert here.poll(60)
    close(torch.from_numpy(here.recv()), plain(x()).detach())
    process.join(60)
    close(model.weight, 2 * plain.weight)


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_torch_package():
    """torch.package's pickler takes the model as pickle does."""
    model, plain = EQUALIZED.twins(net())
    file = io.BytesIO()
    with PackageExporter(file) as exporter:
        exporter.extern(["equalized_lr.**", "torch.**"])
        exporter.save_pickle("models", "model.pkl", model)
    file.seek(0)
    EQUALIZED.assert_alike(PackageImporter(file).load_pickle("models", "model.pkl"), plain, x())
