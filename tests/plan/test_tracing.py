"""Which operand of an operation is a weight, through everything that may lie between."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from equalized_lr import observe
from equalized_lr.errors import AlreadyScaled, UnclearFan
from tests.support.functional import Functional, parameter
from tests.support.odd_layers import CASES, IMAGE, W, X

P = parameter


def seen(module, *inputs):
    """The fans that are observed, as pairs."""
    return {name: fan[:2] for name, fan in observe(module, *inputs).items()}


@pytest.mark.parametrize(("compute", "members", "inputs", "fans"), CASES.values(), ids=CASES)
def test_weights_are_found(compute, members, inputs, fans):
    """Exactly the weights have fans, each that of the operation that consumes it."""
    assert seen(Functional(compute, **members), *inputs) == fans


REPARAMETRIZED = {
    "weight_norm": (parametrizations.weight_norm, nn.Linear(8, 5), "original1", (8, 5)),
    "spectral_norm": (parametrizations.spectral_norm, nn.Linear(8, 5), "original", (8, 5)),
    "of a kernel": (parametrizations.spectral_norm, nn.Conv2d(4, 6, 3), "original", (36, 54)),
    "evaluated": (
        lambda layer: parametrizations.spectral_norm(layer).eval(),
        *(nn.Linear(8, 5), "original", (8, 5)),
    ),
    "orthogonal": (parametrizations.orthogonal, nn.Linear(8, 8), "original", (8, 8)),
}


@pytest.mark.parametrize(
    ("put_on", "layer", "name", "fan"), REPARAMETRIZED.values(), ids=REPARAMETRIZED
)
def test_reparametrized_layers(put_on, layer, name, fan):
    """torch's own: neither the lengths of weight_norm nor the power iteration count."""
    x = X if isinstance(layer, nn.Linear) else IMAGE
    assert seen(put_on(copy.deepcopy(layer)), x) == {f"parametrizations.weight.{name}": fan}


def test_spectral_norm_of_what_makes_noise_of_its_own():
    """What meets random numbers counts before the power iteration, which meets constants."""
    layer = parametrizations.spectral_norm(nn.Linear(8, 5))
    module = Functional(lambda m: m.layer(torch.randn(2, 8)), layer=layer)
    assert seen(module) == {"layer.parametrizations.weight.original": (8, 5)}


def test_parameters_in_one_piece_of_memory():
    """Tensors that were made before the forward belong to the parameter in whose part they lie."""
    flat = torch.randn(40 + 30)
    a, b = nn.Parameter(flat[:40].view(5, 8)), nn.Parameter(flat[40:].view(6, 5))
    module = Functional(lambda m, x: F.linear(F.linear(x, m.views[0]), m.views[1]), a=a, b=b)
    module.views = [a.data[:], b.data[2:]]
    assert seen(module, X) == {"a": (8, 5), "b": (5, 4)}
    module.views = [flat[:48].view(6, 8), flat[35:65].view(5, 6)]
    assert seen(module, X) == {}


def test_sparse_constants_are_no_parameters():
    """Neither they nor sparse parameters have a piece of memory to be known by."""
    module = Functional(
        lambda m, x: (m.graph @ x) @ m.w,
        w=parameter(8, 5),
        graph=torch.eye(2).to_sparse(),
        table=nn.Parameter(torch.eye(2).to_sparse()),
    )
    assert seen(module, X) == {"w": (8, 5)}


SCALED = {
    "a number": lambda w, c: w * 0.25,
    "a quotient": lambda w, c: w / 4,
    "a buffer": lambda w, c: w * c,
    "a buffer before it": lambda w, c: c * w,
    "in place": lambda w, c: w.clone().mul_(0.25),
    "twice": lambda w, c: (w * 0.125).reshape(-1).view_as(w) * 2,
    "cast": lambda w, c: (w.double() * 0.25).float(),
    "transposed": lambda w, c: (w.T * 0.25).contiguous().T,
    "added up": lambda w, c: 0.25 * w + (0.25 * w).detach() - (0.25 * w).detach(),
    "negative": lambda w, c: -0.25 * w,
    "shifted": lambda w, c: 0.25 * w + 2 * c,
    "pruned": lambda w, c: 0.25 * w * (w.abs() > 0),
}


@pytest.mark.parametrize("scaled", SCALED.values(), ids=SCALED)
def test_constants_are_refused(scaled):
    """A constant between a parameter and its contraction is found, with its value."""
    module = Functional(
        lambda m, x: F.linear(x, scaled(m.w, m.c)), w=parameter(*W), c=torch.tensor(0.25)
    )
    with pytest.raises(AlreadyScaled, match=r"'w' \(Functional\) .* multiplies it by 0\.25 "):
        observe(module, X)


AT = torch.tensor([[0, 1], [1, 0]])
STEPS, ZEROS = torch.full((5,), 0.1), torch.zeros(5, dtype=torch.int32)
BYTES = (-128, 127)


def observed(w):
    """Quantization-aware training, with the moving averages of the extrema."""
    on, numbers = torch.tensor([1]), [torch.ones(1) for _ in range(3)]
    return torch.fused_moving_avg_obs_fake_quant(w, on, on, *numbers, on * 0, 0.1, *BYTES, 0)


# fmt: off
LINEAR = {
    "abs": torch.abs, "add": lambda w: w + w, "amax": lambda w: w.amax(0),
    "amin": lambda w: w.amin(0), "cat": lambda w: torch.cat([w, w]),
    "clamp": lambda w: w.clamp(-1, 1), "clamp_max": lambda w: w.clamp_max(1),
    "clamp_min": lambda w: w.clamp_min(-1), "clone": torch.clone,
    "constant_pad_nd": lambda w: F.pad(w, [1, 1]), "copy": lambda w: torch.empty(W).copy_(w),
    "cumsum": lambda w: w.cumsum(0), "diag_embed": torch.diag_embed, "flip": torch.fliplr,
    "fake_quantize": lambda w: torch.fake_quantize_per_tensor_affine(w, 0.1, 0, *BYTES),
    "by tensors": lambda w: torch.fake_quantize_per_tensor_affine(w, STEPS[0], ZEROS[0], *BYTES),
    "by channels": lambda w: torch.fake_quantize_per_channel_affine(w, STEPS, ZEROS, 0, *BYTES),
    "by an observer": observed, "native_dropout": lambda w: torch.native_dropout(w, 0.5, True)[0],
    "gather": lambda w: w.gather(0, AT), "index": lambda w: w[AT[0]],
    "index_put": lambda w: w.index_put((AT[0],), w[:2]), "norm": torch.norm_except_dim,
    "index_select": lambda w: w.index_select(0, AT[0]), "max": lambda w: w.max(0)[0],
    "linalg_vector_norm": lambda w: torch.linalg.vector_norm(w, dim=0),
    "masked_fill": lambda w: w.masked_fill(w > 1, 0), "maximum": lambda w: torch.maximum(w, w),
    "mean": lambda w: w.mean(0), "min": lambda w: w.min(0)[0],
    "minimum": lambda w: torch.minimum(w, w), "neg": torch.neg, "floor": torch.floor,
    "relu": torch.relu, "repeat": lambda w: w.repeat(2, 1), "roll": lambda w: w.roll(1),
    "round": torch.round, "rsub": lambda w: torch.rsub(w, w), "stack": lambda w: torch.stack([w]),
    "scatter": lambda w: w.scatter(0, AT, w[:2]), "std": lambda w: w.std(0),
    "slice_scatter": lambda w: w.slice_scatter(w[:2], end=2), "sub": lambda w: w - w,
    "sum": lambda w: w.sum(0), "_to_copy": lambda w: w.double().float(), "tril": torch.tril,
    "triu": torch.triu, "trunc": torch.trunc, "where": lambda w: torch.where(w > 0, w, -w),
    "_unsafe_index": lambda w: torch.ops.aten._unsafe_index(w, [AT[0]]), "view": lambda w: w.mT,
    "_unsafe_view": lambda w: torch.ops.aten._unsafe_view(w, [8, 5]),
    "_weight_norm_interface": lambda w: torch._weight_norm_interface(w, w[:, :1], 0)[0],
}
# fmt: on


@pytest.mark.parametrize("name", LINEAR)
def test_constants_are_refused_through_what_is_linear(name):
    """What twice the parameter makes twice as large hands its constant on."""

    def compute(m, x):
        w = LINEAR[name](0.25 * m.w)
        return w @ torch.ones(w.shape[-1], 2)

    with pytest.raises(AlreadyScaled, match=r"multiplies it by 0\.25 "):
        observe(Functional(compute, w=parameter(*W)), X)


POWERS = {
    "sqrt": lambda w: w.abs().sqrt(),
    "square": torch.square,
    "reciprocal": torch.reciprocal,
    "var": lambda w: w.var(1, keepdim=True),
    "var_mean": lambda w: torch.var_mean(w, 1, keepdim=True)[0],
    "sign": torch.sign,
    "sgn": torch.sgn,
    "native_batch_norm": lambda w: F.batch_norm(w, None, None, training=True),
    "native_layer_norm": lambda w: F.layer_norm(w, (8,)),
    "native_group_norm": lambda w: F.group_norm(w, 2),
}


@pytest.mark.parametrize("power", POWERS.values(), ids=POWERS)
def test_constants_are_refused_beside_powers(power):
    """What a power adds to the degree, its inverse takes away."""
    module = Functional(
        lambda m, x: F.linear(x, 0.25 * m.w * power(m.w) / power(m.w)), w=parameter(6, 8)
    )
    with pytest.raises(AlreadyScaled, match=r"multiplies it by 0\.25 "):
        observe(module, X)


ENDS = {
    "embedding": lambda w: F.embedding(AT[0], w),
    "embedding_bag": lambda w: F.embedding_bag(AT, w),
    "exp": torch.exp,
    "exp2": torch.exp2,
    "log": torch.log,
    "log2": torch.log2,
    "log_sigmoid": F.logsigmoid,
    "log_softmax": lambda w: w.log_softmax(-1),
    "logsumexp": lambda w: w.logsumexp(0, keepdim=True),
    "sigmoid": torch.sigmoid,
    "softmax": lambda w: w.softmax(-1),
    "softplus": F.softplus,
}


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_ends(end, frozen):
    """Rows of tables, rates, temperatures and mixtures are no weights."""
    module = Functional(lambda m, x: F.linear(x, end(m.w)), w=parameter(*W))
    assert seen(module.requires_grad_(not frozen), X) == {}


def test_constants_before_hidden_contractions_are_refused():
    """The table of layers knows the weight, and the operation its constant."""

    class Scaled(nn.Bilinear):
        def forward(self, x):
            return F.bilinear(x, x, self.weight * 0.25, self.bias)

    with pytest.raises(AlreadyScaled, match=r"'weight' \(Scaled\) .* multiplies it by 0\.25 "):
        observe(Scaled(8, 8, 5), X)


def test_a_constant_of_one_is_none():
    """Negative control: the same with 1, but for rounding, and what goes into the input."""
    tenth = torch.tensor(0.1)
    module = Functional(lambda m, x: F.linear(x * 0.25, m.w * tenth * 10), w=parameter(*W))
    assert seen(module, X) == {"w": (8, 5)}


def test_numbers_that_come_from_a_weight_are_no_constants():
    """A norm that was taken out as a Python number scales as the weight does."""
    module = Functional(lambda m, x: F.linear(x, m.w / m.w.norm().item()), w=parameter(*W))
    assert seen(module, X) == {"w": (8, 5)}


@torch.library.custom_op("equalized_lr_tests::opaque", mutates_args=())
def opaque(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return x @ w.T


@torch.library.custom_op("equalized_lr_tests::linear", mutates_args=())
def weight_first(w: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return x @ w.T


UNCLEAR = {
    "tied autoencoder": (
        lambda m, x: F.linear(F.linear(x, m.w), m.w.T),
        {"w": P(*W)},
        {"w": "mm over 5 connections and mm over 8 connections"},
    ),
    "tied memory": (
        lambda m, x: (x @ m.w.T).softmax(-1) @ m.w,
        {"w": P(5, 8)},
        {"w": "mm over 5 connections and mm over 8 connections"},
    ),
    "raw latents": (
        lambda m, x: x @ (m.q @ m.p),
        {"q": P(8, 3), "p": P(3, 6)},
        {"q": "'p' (Functional)", "p": "'q' (Functional)"},
    ),
    "a factor of two products": (
        lambda m, x: x @ (m.q @ m.p) + x @ (m.q @ m.r),
        {"q": P(8, 3), "p": P(3, 6), "r": P(3, 6)},
        {
            "q": "multiplied with 'p' (Functional), 'r' (Functional), and either",
            "p": "'q' (Functional)",
            "r": "'q' (Functional)",
        },
    ),
    "factors of a kernel": (
        lambda m, x: F.conv2d(x.view(2, 2, 2, 2), (m.a @ m.b).view(6, 2, 2, 2)),
        {"a": P(6, 2), "b": P(2, 8)},
        {"a": "'b' (Functional)", "b": "'a' (Functional)"},
    ),
    "a custom operation": (
        lambda m, x: opaque(x, m.w),
        {"w": P(*W)},
        {"w": "'equalized_lr_tests::opaque' takes it, which does not show what it contracts"},
    ),
    "a custom operation with the name of one of torch's": (
        lambda m, x: weight_first(m.w, x),
        {"w": P(*W)},
        {"w": "'equalized_lr_tests::linear' takes it, which does not show what it contracts"},
    ),
    "a custom operation on a constant": (
        lambda m, x: F.linear(x, opaque(m.c, m.w).T),
        {"w": P(*W), "c": torch.ones(8, 8)},
        {"w": "'equalized_lr_tests::opaque' takes it, which does not show what it contracts"},
    ),
    "sums over two lengths": (
        lambda m, x: [(x[:, None] * m.w).sum(-1), (x[:, :5, None] * m.w).sum(1)],
        {"w": P(*W)},
        {"w": "sum over 5 connections and sum over 8 connections"},
    ),
    "merged LoRA": (
        lambda m, x: F.linear(x, m.w + m.b @ m.a),
        {"w": P(*W), "a": P(2, 8), "b": P(5, 2)},
        {"a": "'b' (Functional)", "b": "'a' (Functional)"},
    ),
}


@pytest.mark.parametrize(("compute", "members", "texts"), UNCLEAR.values(), ids=UNCLEAR)
def test_unclear_uses_are_named(compute, members, texts):
    """What has two numbers of connections, or two possible weights, is left out with a warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UnclearFan)
        fans = seen(Functional(compute, **members), X)
    assert fans == ({"w": (8, 5)} if "w" not in texts and "w" in members else {})
    assert len(caught) == len(texts)
    for warning, (name, text) in zip(caught, texts.items(), strict=True):
        message = str(warning.message)
        assert message.startswith(f"'{name}' (Functional) has no fan of its own: ")
        assert text in message


def test_hidden_contractions_are_named():
    """An operation that shows nothing of a weight which the table does not know either."""
    module = Functional(
        lambda m, x, y: torch._trilinear(x, m.w, y, [1, 3], [0], [1, 2], [2, 3]),
        w=parameter(3, 8, 8),
    )
    with pytest.warns(UnclearFan, match="'_trilinear' takes it, which does not show"):
        assert observe(module, X, X) == {}


def test_a_known_layer_with_a_second_use():
    """What the table knows of an operation that shows nothing stands beside what another shows."""
    module = Functional(
        lambda m, x: m.layer(x, x) + F.linear(x, m.layer.weight[:, 0]), layer=nn.Bilinear(8, 8, 5)
    )
    with pytest.warns(UnclearFan, match="_trilinear over 64 connections and mm over 8 conn"):
        assert observe(module, X) == {}


def test_unclear_uses_as_errors():
    """A filter turns the warning into an error, and the module is as it was."""
    module = Functional(lambda m, x: F.linear(F.linear(x, m.w), m.w.T), w=parameter(*W))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnclearFan)
        with pytest.raises(UnclearFan, match="It is left out of the result"):
            observe(module, X)
    assert seen(Functional(lambda m, x: F.linear(x, m.w), w=module.w), X) == {"w": (8, 5)}
