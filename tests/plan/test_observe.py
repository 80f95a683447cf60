"""`observe`: names, ties, modes, equalized modules, and what it refuses."""

import copy
import dataclasses
import gc
import warnings
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from equalized_lr import Fan, cached, equalize_lr, fans, observe
from equalized_lr.errors import AlreadyScaled, NotAModule, UnclearFan
from tests.support.functional import Functional, parameter

X = torch.ones(2, 8)


def perceptron():
    return nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))


PERCEPTRON = {"0.weight": Fan(8, 5), "2.weight": Fan(5, 3)}


class Network(nn.Module):
    """One layer of each kind that is known, one that is not, and what no operation contracts."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(10, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, 0.1, batch_first=True)
        self.memory = nn.LSTM(8, 6, batch_first=True, bidirectional=True)
        self.experts = parameter(4, 12, 8)
        self.token = parameter(1, 1, 8)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 10)
        self.head.weight = self.embed.weight

    def forward(self, ids):
        x = torch.cat([self.embed(ids), self.token.expand(len(ids), -1, -1)], 1)
        x, _ = self.memory(self.encoder(x))
        x = torch.einsum("bti,eio->bto", x, self.experts)
        return self.head(self.norm(x))


IDS = torch.tensor([[1, 2, 3], [4, 5, 6]])
NETWORK = {
    "embed.weight": Fan(8, 10),
    "encoder.self_attn.in_proj_weight": Fan(8, 8, "in_proj_bias"),
    "encoder.self_attn.out_proj.weight": Fan(8, 8),
    "encoder.linear1.weight": Fan(8, 16),
    "encoder.linear2.weight": Fan(16, 8),
    "memory.weight_ih_l0": Fan(8, 24),
    "memory.weight_hh_l0": Fan(6, 24),
    "memory.weight_ih_l0_reverse": Fan(8, 24),
    "memory.weight_hh_l0_reverse": Fan(6, 24),
    "experts": Fan(12, 8),
    "head.weight": Fan(8, 10),
}


def test_a_whole_model():
    """Each weight by its qualified name, in the order of the parameters; look-ups only by a tie."""
    result = observe(Network(), IDS)
    assert result == NETWORK | {"experts": result["experts"]}
    assert result["experts"].fan_in == 12
    names = [name for name, _ in Network().named_parameters(remove_duplicate=False)]
    assert list(result) == [name for name in names if name in NETWORK]


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_modes(mode, training, frozen):
    """Training or evaluation, gradients or none, frozen or not: the fans are the same."""
    model = Network().train(training).requires_grad_(not frozen)
    with mode():
        assert observe(model, IDS.clone()) == observe(Network(), IDS)
        assert observe(perceptron(), torch.ones(2, 8)) == PERCEPTRON
    assert model.training == training


def test_models_built_in_inference_mode():
    """Their parameters take part in no graph."""
    with torch.inference_mode():
        assert observe(perceptron(), X) == PERCEPTRON


@pytest.mark.parametrize("equalized", ["all", "some", "by other constants"])
def test_equalized_and_mixed_modules(equalized):
    """Names are the plain ones, and the module's own c is no constant of somebody else's."""
    model = Network()
    if equalized == "some":
        equalize_lr(model.encoder)
    elif equalized == "by other constants":
        equalize_lr(model, "experts", gain=0.125, fan=12)
        equalize_lr(model.memory, gain=3.0, lr_mul=0.01)
        equalize_lr(model, fans={})
    else:
        equalize_lr(model, fans={})
    assert observe(model, IDS) == observe(Network(), IDS)
    with cached():
        model(IDS)
        assert observe(model, IDS) == observe(Network(), IDS)


def test_stored_parameters_may_be_read():
    """A forward that takes `weight_orig` scales nothing."""
    layer = equalize_lr(nn.Linear(8, 5))
    model = Functional(lambda m, x: F.linear(x, m.layer.weight_orig), layer=layer)
    assert observe(model, X) == {"layer.weight": Fan(8, 5)}


def test_equalized_twice():
    """A layer that is equalized by hand and by this library: the error has the hand's constant."""

    class Scaled(nn.Linear):
        def forward(self, x):
            return F.linear(x, self.weight * 0.25, self.bias)

    with pytest.raises(
        AlreadyScaled, match=r"'1.weight' \(Scaled\) .* by 0\.25 before it is used\."
    ):
        observe(nn.Sequential(nn.Linear(8, 8), Scaled(8, 2)), X)
    model = equalize_lr(nn.Sequential(Scaled(8, 8), Scaled(8, 2)), fans={})
    with pytest.raises(AlreadyScaled, match=r"'0.weight' .* by 0\.25 .* so it does with 1 others"):
        observe(model, X)


def test_a_tied_parameter_under_each_name():
    """Also one module under two names, as `named_parameters(remove_duplicate=False)` has it."""
    layer = nn.Linear(8, 8)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    assert observe(model, X) == {"0.weight": Fan(8, 8), "2.weight": Fan(8, 8)}


def test_a_tie_over_two_lengths():
    """An autoencoder of two tied layers has two fans for one Parameter: none is guessed."""
    encoder, decoder = nn.Linear(8, 5, bias=False), nn.Linear(5, 8, bias=False)
    decoder.weight = nn.Parameter(encoder.weight.detach().T)
    assert observe(nn.Sequential(encoder, decoder), X) == {
        "0.weight": (8, 5, None),
        "1.weight": (5, 8, None),
    }
    tied = Functional(lambda m, x: F.linear(m.encoder(x), m.encoder.weight.T), encoder=encoder)
    with pytest.warns(UnclearFan, match="'encoder.weight' .Linear.*over 5 .* and .*over 8 conn"):
        assert observe(tied, X) == {}


def test_the_table_settles_what_it_knows():
    """Packed projections count three times in the operation, and once in the table."""
    attention = nn.MultiheadAttention(8, 2)
    x, memory = torch.ones(3, 2, 8), torch.ones(4, 2, 8)
    for inputs in ((x, x, x), (x, memory, memory), (x, memory, memory + 1)):
        assert observe(attention, *inputs)["in_proj_weight"] == Fan(8, 8, "in_proj_bias")
    linear = Functional(lambda m, x: F.linear(x, m.w), w=attention.in_proj_weight)
    assert observe(linear, X) == {"w": Fan(8, 24)}  # negative control


def test_the_table_gives_way_to_what_is_seen():
    """A subclass that uses its weight in another way has the fan of that way."""

    class Transposed(nn.Linear):
        def forward(self, x):
            return x @ self.weight

    layer = Transposed(5, 8)
    assert fans(layer)["weight"] == Fan(5, 8)
    assert observe(layer, X) == {"weight": Fan(8, 5)}


@dataclasses.dataclass
class Batch:
    values: torch.Tensor


CALLS = {
    "by name": (lambda m, *, x: m.net(x), (), {"x": X}),
    "in a dict": (lambda m, batch: {"out": [m.net(batch["x"][0])]}, ({"x": [X]},), {}),
    "in an object": (lambda m, batch: Batch(m.net(batch.values)), (Batch(X),), {}),
    "a number": (lambda m, x: m.net(x).sum().item(), (X,), {}),
    "nothing": (lambda m, x: m.net(x) and None if False else [m.net(x)].clear(), (X,), {}),
    "a generator": (lambda m, x: (m.net(x) for _ in range(2)), (X,), {}),
    "checkpointed": (lambda m, x: checkpoint(m.net, x, use_reentrant=False), (X,), {}),
    "checkpointed, reentrant": (lambda m, x: checkpoint(m.net, x, use_reentrant=True), (X,), {}),
}


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize(("compute", "args", "kwargs"), CALLS.values(), ids=CALLS)
def test_any_signature(compute, args, kwargs):
    """Arguments and results of any kind."""
    result = observe(Functional(compute, net=perceptron()), *args, **kwargs)
    assert result == {f"net.{name}": fan for name, fan in PERCEPTRON.items()}


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.inference_mode])
def test_one_tensor_twice(mode):
    """It arrives as one tensor, which attention asks for."""
    model = Functional(lambda m, x, y: m.net(x) if x is y else x, net=perceptron())
    with mode():
        x = torch.ones(2, 8)
        assert len(observe(model, x, x)) == 2
        assert not observe(model, x, x.clone())


def test_a_parameter_as_an_argument():
    """It is still the module's own."""
    model = Functional(lambda m, x, w: F.linear(x, w), w=parameter(5, 8))
    assert observe(model, X, model.w) == {"w": Fan(8, 5)}


def test_arguments_with_a_graph():
    """They are no leaves, and nobody asks for their gradients."""
    assert observe(perceptron(), X.clone().requires_grad_() * 2) == PERCEPTRON


def test_dtypes_and_autocast():
    """In double precision, complex, and under autocast with casts from before in its cache."""
    assert observe(perceptron().double(), X.double()) == PERCEPTRON
    assert observe(nn.Linear(8, 5, dtype=torch.cfloat), X.cfloat()) == {"weight": Fan(8, 5)}
    model = perceptron()
    with torch.autocast("cpu"):
        model(X)
        assert observe(model, X) == PERCEPTRON


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_meta_and_compiled_modules():
    """Shapes are enough, and compiled modules run uncompiled."""
    with torch.device("meta"):
        assert observe(perceptron(), torch.ones(2, 8)) == PERCEPTRON
    model = perceptron()
    model.compile()
    assert observe(model, X) == PERCEPTRON


def test_empty_batches():
    """No samples at all show the same lengths."""
    assert observe(perceptron(), torch.ones(0, 8)) == PERCEPTRON
    gated = Functional(lambda m, x: (x * m.g) @ m.w, g=parameter(8), w=parameter(8, 5))
    assert observe(gated, torch.ones(0, 8)) == {"w": Fan(8, 5)}


def test_lazy_modules_stay_lazy():
    """Their fans are those that they will have, and they have no shape yet."""
    model = nn.Sequential(nn.LazyLinear(5), nn.ReLU(), nn.LazyLinear(3))
    assert observe(model, X) == PERCEPTRON
    assert all(nn.parameter.is_lazy(parameter) for parameter in model.parameters())
    assert type(model[0]) is nn.LazyLinear


def test_lazy_modules_leave_no_trace():
    """Neither in the random state that their first values are drawn from, nor in their inputs."""

    def compute(m, *, x):
        yield m.layer(x.add_(1))

    model, x, before = Functional(compute, layer=nn.LazyLinear(5)), X.clone(), torch.get_rng_state()
    assert observe(model, x=x) == {"layer.weight": Fan(8, 5)}
    assert torch.equal(x, X)
    assert torch.equal(torch.get_rng_state(), before)


def test_unused_parameters_are_absent():
    """What the forward does not reach has no fan."""
    model = Functional(lambda m, x: m.used(x), used=nn.Linear(8, 3), unused=nn.Linear(8, 3))
    assert list(observe(model, X)) == ["used.weight"]


def test_refusals():
    """No module is an error of ours; inputs that do not fit are the module's own error."""
    with pytest.raises(NotAModule):
        observe(F.relu, X)
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        observe(perceptron(), torch.ones(2, 3))
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        observe(nn.Linear(8, 5))


def test_warnings_point_at_the_caller():
    """The warning's place is the line that called."""
    tied = Functional(lambda m, x: F.linear(F.linear(x, m.w), m.w.T), w=parameter(5, 8))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        observe(tied, X)
    assert [warning.filename for warning in caught] == [__file__]


def test_nothing_is_kept():
    """The activations do not outlive the call."""
    activations = []
    model = perceptron()
    model[1].register_forward_hook(lambda m, args, out: activations.append(weakref.ref(out)))
    observe(model, X)
    gc.collect()
    assert [activation() for activation in activations] == [None]


def test_one_call_equalizes_what_was_unknown():
    """Law 3 with observed fans: a layer that nobody registered keeps the variance of its input."""
    module = Functional(
        lambda m, x: torch.einsum("bhi,hio->bho", x, m.kernels), kernels=parameter(8, 64, 32)
    )
    fan = observe(module, torch.ones(2, 8, 64))["kernels"]
    assert fans(module) == {}
    equalize_lr(module, "kernels", fan=fan.fan_in, gain=1.0)
    x = torch.randn(256, 8, 64)
    # 64 * 32 * 8 weights: off by sqrt(2 / 16384) = 1.1 % in the standard deviation, six of those
    assert module(x).square().mean().item() == pytest.approx(1, abs=0.066)
    wrong = copy.deepcopy(module)
    with torch.no_grad():
        wrong.kernels_orig.mul_((64 / 32) ** 0.5)  # as by the other axis: negative control
    assert wrong(x).square().mean() > 1.5
