"""ONNX: what onnxruntime computes from either of torch's exporters."""

import io

import onnxruntime
import pytest
import torch
from torch import nn

from equalized_lr import equalize_lr
from tests.support.mechanisms import first, net, x


def convolution():
    return nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.ReLU())


@pytest.mark.filterwarnings("ignore")  # of the exporter, about itself
@pytest.mark.parametrize(
    ("make", "shape", "dynamo"),
    [
        (net, (4, 6), True),
        (net, (4, 6), False),
        (convolution, (1, 2, 5, 5), True),
        (convolution, (1, 2, 5, 5), False),
        (lambda: nn.TransformerEncoderLayer(8, 2, 16, 0.0), (5, 2, 8), True),
        (lambda: nn.GRU(6, 4, bidirectional=True), (5, 2, 6), False),
    ],
    ids=["linear", "linear (old)", "convolution", "convolution (old)", "transformer", "GRU (old)"],
)
def test_onnx(make, shape, dynamo):
    """onnxruntime computes what the model computes, from both of torch's exporters."""
    model = equalize_lr(make()).eval()  # plain models, too, export the others in one way only
    inputs, file = x(*shape).float(), io.BytesIO()
    torch.onnx.export(model, (inputs,), file, dynamo=dynamo, input_names=["x"], verbose=False)
    session = onnxruntime.InferenceSession(file.getvalue())
    output = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(output), first(model(inputs)), rtol=1e-4, atol=1e-5)
