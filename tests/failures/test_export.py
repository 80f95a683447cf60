"""Export: programs, ONNX, traces, scripts, graphs, quantization."""

import warnings

import pytest
import torch
from torch import nn

from equalized_lr import equalize_lr, errors
from tests.support.assertions import Snapshot
from tests.support.mechanisms import EQUALIZED, close, common_hook, net, x


class Own(nn.Module):
    """A layer of one's own, into which torch.fx traces, and which reads a child's weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 6))
        self.child = nn.Linear(6, 6)

    def forward(self, inputs):
        hidden = torch.relu(self.child(inputs)) @ self.weight
        return nn.functional.linear(hidden, self.child.weight)


class Perceptron(nn.Module):
    """A parent of torch.nn layers."""

    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, inputs):
        return self.net(inputs)


@pytest.mark.parametrize("trained", [False, True])
@common_hook("error" if torch.__version__ >= "2.10" else "holds")
def test_export_without_strictness(mechanism, trained):
    """torch.export of a fresh or trained model holds the stored weights, and computes the same."""
    model, plain = mechanism.twins(net())
    if trained:
        mechanism.assert_alike(model, plain, x())
    program = torch.export.export(model, (x(),), strict=False)
    close(program.module()(x()), plain(x()))
    assert set(program.state_dict) == set(model.state_dict())
    assert not program.constants


@pytest.mark.filterwarnings("ignore:While (compiling|exporting), we found certain side effects")
@common_hook("holds")
def test_export_with_strictness(mechanism):
    """The same through dynamo."""
    model, plain = mechanism.twins(net())
    program = torch.export.export(model, (x(),), strict=True)
    close(program.module()(x()), plain(x()))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated")
@common_hook("holds")
def test_trace(mechanism):
    """A trace computes from the stored weights of now."""
    model, plain = mechanism.twins(net())
    trace = torch.jit.trace(model, (x(),))
    mechanism.assert_alike(model, plain, x())
    close(trace(x()), plain(x()))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated")
def test_script_after_removal_only():
    """torch.jit.script is refused with the cure, and works after it."""
    model, plain = EQUALIZED.twins(Perceptron())
    before = Snapshot(model)
    with pytest.raises(errors.NotConvertible, match="remove_equalized_lr"):
        torch.jit.script(model)
    before.assert_unchanged()
    close(torch.jit.script(EQUALIZED.unwrap(model))(x()), plain(x()))


@pytest.mark.filterwarnings("ignore")  # torch.ao and quantized tensors are deprecated
def test_dynamic_quantization_after_removal_only():
    """torch.ao goes by exact classes and would pass over equalized layers in silence."""
    model, plain = EQUALIZED.twins(Perceptron())
    model.float(), plain.float()
    before = Snapshot(model)
    with pytest.raises(errors.NotConvertible, match="remove_equalized_lr"):
        torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
    before.assert_unchanged()
    assert not hasattr(model.net[0], "qconfig")
    quantized = torch.ao.quantization.quantize_dynamic(EQUALIZED.unwrap(model), {nn.Linear})
    assert type(quantized.net[0]) is torch.ao.nn.quantized.dynamic.Linear
    # eight bits for weights and inputs: a few percent of the largest value
    torch.testing.assert_close(quantized(x().float()), plain(x().float()), rtol=0.1, atol=0.05)


@pytest.mark.filterwarnings("ignore")
@common_hook("error")
def test_dynamic_quantization_of_a_model_that_has_run(mechanism):
    """It is refused with a cure, and the model goes on."""
    model, plain = mechanism.twins(Perceptron())
    mechanism.assert_alike(model, plain, x())
    try:
        torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
    except errors.NotConvertible:
        mechanism.assert_alike(model, plain, x())


@pytest.mark.filterwarnings("ignore")
def test_static_quantization_after_removal_only():
    """FX graph mode, too, is refused before it changes anything."""
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import prepare_fx

    model, _ = EQUALIZED.twins(Perceptron())
    with pytest.raises(errors.NotConvertible, match="remove_equalized_lr"):
        prepare_fx(model.float().eval(), get_default_qconfig_mapping(), (x().float(),))


@common_hook("holds")
def test_symbolic_trace(mechanism):
    """torch.fx takes layers of torch.nn as they are."""
    model, plain = mechanism.twins(net())
    graph = torch.fx.symbolic_trace(model)
    mechanism.assert_alike(model, plain, x())
    close(graph(x()), plain(x()))


def test_symbolic_trace_into_a_layer_of_ones_own():
    """Where torch.fx traces into the layer, the graph computes from the stored Parameter."""
    plain = Own().double()
    model, plain = EQUALIZED.twins(plain)
    equalize_lr(model, "weight", fan=6, init="keep")
    graph = torch.fx.symbolic_trace(model)
    assert [name for name, _ in graph.named_parameters()] == [
        n for n, _ in model.named_parameters()
    ]
    for m in (graph, plain):
        m(x()).square().sum().backward()
    EQUALIZED.assert_gradients(model, plain)
    close(graph(x()), plain(x()))


def test_tracing_leaves_no_warning():
    """torch.fx warns whoever asks it whether it is tracing while it exports."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.export.export(equalize_lr(net()), (x().float(),), strict=False)
