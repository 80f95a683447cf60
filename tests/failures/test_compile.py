"""torch.compile and torch.export: one graph, no extra compilation, and no stale weight."""

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter

from equalized_lr import equalize_lr, remove_equalized_lr
from equalized_lr.layer.caching import current_cache
from tests.support.mechanisms import EQUALIZED, close, common_hook, first, net, x

X = torch.randn(5, 2, 8, generator=torch.Generator().manual_seed(0))


def mlp():
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))


class Block(nn.Module):
    """A residual block, as models have a dozen of."""

    def __init__(self):
        super().__init__()
        self.inner = mlp()
        self.outer = nn.Linear(4, 8)

    def forward(self, x):
        return x + self.outer(self.inner(x))


MODELS = {
    "mlp": (mlp, (X,)),
    "convolution": (lambda: nn.Conv1d(2, 4, 3, groups=2), (X,)),
    "attention": (lambda: nn.MultiheadAttention(8, 2), (X, X, X)),
    "encoder": (lambda: nn.TransformerEncoderLayer(8, 2, 16, 0.0), (X,)),
}
each_model = pytest.mark.parametrize(("make", "inputs"), MODELS.values(), ids=MODELS)


@pytest.fixture(autouse=True)
def _fresh_dynamo():
    torch._dynamo.reset()


@each_model
def test_one_graph_that_sees_every_step(make, inputs):
    """Compiled training is one graph without breaks, and follows the optimizer's steps."""
    model, counter = equalize_lr(make()), CompileCounter()
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        torch.testing.assert_close(first(compiled(*inputs)), first(model(*inputs)))
        optimizer.zero_grad()
        first(compiled(*inputs)).square().sum().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        optimizer.step()
    assert counter.frame_count == 1


@pytest.mark.torch(since="2.9", why="hooks that are equal share compiled code")
def test_identical_blocks_compile_as_often_as_plain_ones():
    """Twelve blocks, each compiled by itself, need no more compilations than plain blocks."""
    counts = []
    for prepare in (lambda blocks: blocks, equalize_lr):
        torch._dynamo.reset()
        blocks, counter = prepare(nn.ModuleList(Block() for _ in range(12))), CompileCounter()
        for block in blocks:
            block.compile(backend=counter, fullgraph=True)
            block(X).sum().backward()
        counts.append(counter.frame_count)
    assert counts == [1, 1]


def test_equalizing_and_removing_a_model_that_was_compiled():
    """A compiled model notices that its layers were equalized, changed, and given back."""
    model = mlp()
    compiled = torch.compile(model, backend="eager")
    expected = compiled(X)
    for verb in (lambda m: equalize_lr(m, init="keep"), remove_equalized_lr):
        verb(model)
        torch.testing.assert_close(compiled(X), expected)
        with torch.no_grad():
            next(model.parameters()).mul_(2)
        expected = model(X)
        torch.testing.assert_close(compiled(X), expected)


STRICT = pytest.param(
    True, marks=pytest.mark.torch(since="2.10", why="strict export of a root that has hooks")
)


@pytest.mark.parametrize("strict", [STRICT, False])
@each_model
def test_export(make, inputs, strict):
    """Exported before or after training, a program computes the same and holds stored weights."""
    model = equalize_lr(make())
    first(model(*inputs)).sum().backward()
    program = torch.export.export(model, inputs, strict=strict)
    torch.testing.assert_close(first(program.module()(*inputs)), first(model(*inputs)))
    assert set(program.state_dict) == set(model.state_dict())
    assert current_cache() is None


@pytest.mark.filterwarnings("ignore")  # of inductor, about itself
@pytest.mark.parametrize("make", [mlp, lambda: nn.MultiheadAttention(8, 2), lambda: nn.LSTM(8, 4)])
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_backends(make, backend):
    """Training and evaluation, compiled by real backends, before and after removal."""
    model, plain = EQUALIZED.twins(make())
    inputs = (X.double(),) * (3 if isinstance(plain, nn.MultiheadAttention) else 1)
    compiled = torch.compile(model, backend=backend)
    for _ in range(2):
        for twin in (compiled, plain):
            first(twin(*inputs)).square().sum().backward()
        EQUALIZED.assert_gradients(model, plain)
        EQUALIZED.step(model, plain)
        with torch.no_grad():
            close(first(compiled.eval()(*inputs)), first(plain.eval()(*inputs)))
        model.train(), plain.train()
    EQUALIZED.unwrap(model)
    close(first(compiled(*inputs)), first(plain(*inputs)))
    EQUALIZED.assert_alike(model, plain, *inputs)


@pytest.mark.filterwarnings("ignore:While compiling, we found certain side effects")
@common_hook("silent")
def test_a_read_after_compiled_training(mechanism):
    """What was computed in compiled code is not left on the model."""
    model, plain = mechanism.twins(net())
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    for twin in (compiled, plain):
        twin(x()).square().sum().backward()
    mechanism.assert_gradients(model, plain)
    mechanism.step(model, plain)
    close(model[0].weight, plain[0].weight)


@common_hook("error")
def test_a_compiled_parent_that_reads(mechanism):
    """Attention, which reads the weight of out_proj, as one graph."""
    model, plain = mechanism.twins(nn.MultiheadAttention(8, 2))
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    for _ in range(2):
        for twin in (compiled, plain):
            first(twin(*(X.double(),) * 3)).square().sum().backward()
        mechanism.assert_gradients(model, plain)
        mechanism.step(model, plain)


@common_hook("holds")
def test_compiled_after_eager(mechanism):
    """A model that has run is compiled, evaluated in inference mode, and trains on."""
    model, plain = mechanism.twins(net())
    mechanism.assert_alike(model, plain, x())
    compiled = torch.compile(model, backend="eager")
    with torch.inference_mode():
        close(compiled(x()), plain(x()))
    for twin in (compiled, plain):
        twin(x()).square().sum().backward()
    mechanism.assert_gradients(model, plain)


def test_no_recompilation_over_grad_modes():
    """Training, evaluation, training: three graphs at most are compiled, as for plain models."""
    counts = []
    for prepare in (lambda model: model, equalize_lr):
        torch._dynamo.reset()
        model, counter = prepare(mlp()), CompileCounter()
        compiled = torch.compile(model, backend=counter, fullgraph=True)
        for train in (True, False, True, False):
            with torch.set_grad_enabled(train):
                compiled.train(train)(X)
        counts.append(counter.frame_count)
    assert counts[0] == counts[1]
