"""`observe` on models that nobody here wrote: every weight is found, and nothing else.

What is in no package that installs beside every torch (timm's CondConv2d, EDM's Linear) stands here
as it was published.
"""

import importlib
import math
import time

import pytest
import torch
import transformers
from torch import nn
from torch.nn import functional as F

from equalized_lr import Fan, fans, observe
from tests.support import stylegan2
from tests.support.foreign_models import BERT, LLAMA, MODELS, TOKENS, hub
from tests.support.functional import Functional, parameter

MIXTURE = LLAMA | {"num_local_experts": 4, "num_experts_per_tok": 2}
NARROW = LLAMA | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12}
XLNET = {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 24, "vocab_size": 20}
LAYERS = {"layer_types": ["full_attention", "sliding_attention"], "head_dim": 8}
JETMOE = {"hidden_size": 16, "num_hidden_layers": 2, "num_key_value_heads": 2, "kv_channels": 8}
RECURRENT = {"num_hidden_layers": 3, "lru_width": 16, "attention_window_size": 8}
LATENT = {
    "num_key_value_heads": 2,
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4,
    "v_head_dim": 8,
    "first_k_dense_replace": 1,
}
JETMOE |= {"intermediate_size": 24, "vocab_size": 20, "num_local_experts": 4}
PERCEIVER = {"num_latents": 4, "d_latents": 16, "d_model": 8, "num_blocks": 1}
PERCEIVER |= {"num_self_attends_per_block": 1, "num_self_attention_heads": 2}

# fmt: off
UNKNOWN = [
    (hub("Mixtral:ForCausalLM", MIXTURE, TOKENS), {
        "mlp.gate.weight": (16, 4), "gate_up_proj": (16, 48), "down_proj": (24, 16)}),
    (hub("GptOss:ForCausalLM", MIXTURE | LAYERS, TOKENS), {
        "router.weight": (16, 4), "gate_up_proj": (16, 48), "down_proj": (24, 16)}),
    (hub("Qwen3Moe:ForCausalLM", NARROW | {"head_dim": 8}, TOKENS), {
        "mlp.gate.weight": (16, 4), "gate_up_proj": (16, 24), "down_proj": (12, 16)}),
    (hub("Olmoe:ForCausalLM", NARROW, TOKENS), {
        "mlp.gate.weight": (16, 4), "gate_up_proj": (16, 48), "down_proj": (24, 16)}),
    (hub("DeepseekV3:ForCausalLM", NARROW | LATENT, TOKENS), {
        "mlp.gate.weight": (16, 4), "gate_up_proj": (16, 24), "down_proj": (12, 16)}),
    (hub("JetMoe:ForCausalLM", JETMOE | {"num_experts_per_tok": 2}, TOKENS), {
        "mlp.input_linear.weight": (16, 48), "mlp.output_linear.weight": (24, 16),
        "experts.input_linear.weight": (16, 16), "experts.output_linear.weight": (16, 16),
        "embed_tokens.weight": (16, 20)}),
    (hub("RecurrentGemma:ForCausalLM", LLAMA | RECURRENT, TOKENS), {
        "input_gate_weight": (8, 8), "recurrent_gate_weight": (8, 8),
        "embed_tokens.weight": (16, 20)}),
    (hub("XLNet:LMHeadModel", XLNET, TOKENS), {
        **{f"rel_attn.{key}": (16, 16) for key in "qkvor"}, "word_embedding.weight": (16, 20)}),
    (hub("Funnel", {"d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 24, "block_sizes": [1, 1],
        "vocab_size": 20}, TOKENS), {"r_kernel": (16, 16), "seg_embed": (8, 2)}),
    (hub("Perceiver", PERCEIVER, {"inputs": torch.ones(2, 5, 8)}), {}),
    (hub("Rwkv:ForCausalLM", {"hidden_size": 16, "num_hidden_layers": 2, "vocab_size": 20,
        "attention_hidden_size": 16}, TOKENS), {}),
]
# fmt: on

# What a forward of these models does not reach: rare words, and a head of its own.
UNREACHED = ("tail.0.0.weight", "tail.0.1.weight", "contact_head.regression.weight")


def table(model):
    """What the function `fans` says of all layers."""
    return {
        f"{path}.{name}" if path else name: fan
        for path, layer in model.named_modules()
        for name, fan in fans(layer).items()
        if not name.endswith(UNREACHED) and not f"{path}.{name}".endswith(UNREACHED)
    }


@pytest.mark.filterwarnings("ignore")  # of the other libraries, about themselves
@pytest.mark.parametrize(("make", "inputs"), MODELS)
def test_layers_that_are_known(make, inputs):
    """The table's fan for each weight that it knows; besides those, none but tied embeddings."""
    model = make()
    observed, known = observe(model, **inputs), table(model)
    assert {name: observed.get(name) for name in known} == known
    tied = {id(model.get_parameter(name)) for name in known}
    others = [name for name in observed if id(model.get_parameter(name)) not in tied]
    assert all(name.endswith(("r_kernel", "seg_embed")) for name in others)  # Funnel's


@pytest.mark.parametrize(
    ("make", "inputs", "expected"),
    [pytest.param(*case.values, expected, id=case.id) for case, expected in UNKNOWN],
)
def test_layers_that_are_not_known(make, inputs, expected):
    """Experts, routers, gates and raw projections: each has the fan of its contraction."""
    model = make()
    observed, known = observe(model, **inputs), table(model)
    assert {name: observed.get(name) for name in known} == known
    others = {name: fan[:2] for name, fan in observed.items() if name not in known}
    for name, fan in others.items():
        assert fan == next(fan for end, fan in expected.items() if name.endswith(end)), name
    for end in expected:
        assert any(name.endswith(end) for name in others), end


def test_gpt2_without_the_table():
    """Conv1D is an nn.Module of transformers' own, whose weight is (in, out)."""
    config = transformers.GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=20, n_positions=16)
    model = transformers.GPT2LMHeadModel(config)
    own = fans.dispatch(transformers.pytorch_utils.Conv1D)
    fans.register(transformers.pytorch_utils.Conv1D, lambda layer: {})
    try:
        observed = {name: fan[:2] for name, fan in observe(model, **TOKENS).items()}
    finally:
        fans.register(transformers.pytorch_utils.Conv1D, own)
    block = "transformer.h.0"
    assert observed == {
        "transformer.wte.weight": (16, 20),
        f"{block}.attn.c_attn.weight": (16, 48),
        f"{block}.attn.c_proj.weight": (16, 16),
        f"{block}.mlp.c_fc.weight": (16, 64),
        f"{block}.mlp.c_proj.weight": (64, 16),
        "lm_head.weight": (16, 20),
    }


@pytest.mark.parametrize("grouped", [True, False], ids=["groups", "batch"])
@pytest.mark.parametrize("colors", [1, 3])
def test_stylegan2(grouped, colors):
    """Modulated convolutions, up-sampling ones and those to colors, from a constant input."""
    model = stylegan2.Generator(style=8, width=6, colors=colors, grouped=grouped)
    observed = {name: fan[:2] for name, fan in observe(model, torch.randn(2, 8)).items()}
    kernels = {name: fan for name, fan in observed.items() if not name.endswith("affine.weight")}
    expected = {
        "mapping.0.weight": (8, 8),
        "mapping.2.weight": (8, 8),
        "first.conv.weight": (54, 54),
        **{f"blocks.{block}.0.conv.weight": (6 * 16 / 4, 6 * 16) for block in range(2)},
        **{f"blocks.{block}.1.conv.weight": (54, 54) for block in range(2)},
        **{f"to_rgb.{block}.weight": (6, colors) for block in range(2)},
    }
    assert kernels == expected
    affine = [fan for name, fan in observed.items() if name.endswith("affine.weight")]
    assert affine == [(8, 6)] * 7


class CondConv2d(nn.Module):
    """timm's: each sample mixes its kernel of experts, and is a group of one convolution."""

    def __init__(self, into, out, size, experts, groups=1):
        super().__init__()
        self.shape, self.groups = (out, into // groups, size, size), groups
        self.weight = parameter(experts, math.prod(self.shape))
        self.bias = parameter(experts, out)

    def forward(self, x, routing):
        n, into, *size = x.shape
        out, *rest = self.shape
        weight = torch.matmul(routing, self.weight).view(n * out, *rest)
        bias = torch.matmul(routing, self.bias).view(n * out)
        y = F.conv2d(x.reshape(1, n * into, *size), weight, bias, groups=self.groups * n, padding=1)
        return y.permute([1, 0, 2, 3]).view(n, out, *y.shape[-2:])


@pytest.mark.parametrize("groups", [1, 2])
def test_mixed_kernels(groups):
    """The fan is the convolution's; that of the biases, which are no kernels, is the mixture's."""
    observed = observe(CondConv2d(4, 6, 3, 5, groups), torch.ones(2, 4, 6, 6), torch.ones(2, 5))
    assert observed["weight"][:2] == (36 / groups, 54 / groups)


def edm_linear(m, x):
    """EDM's: the initial values are scaled, not the weight."""
    return x @ m.weight.to(x.dtype).t() + m.bias.to(x.dtype)


def test_edm_linear():
    """EDM scales its initial values, not its weights."""
    module = Functional(edm_linear, weight=parameter(6, 8), bias=parameter(6))
    assert observe(module, torch.ones(3, 8)) == {"weight": Fan(8, 6)}


EDGES = torch.tensor([[0, 1, 2, 0], [1, 2, 0, 2]])
KINDS, FEATURES = torch.tensor([0, 1, 2, 1]), torch.ones(4, 4)
GRAPHS = {
    "GCNConv": ((8, 5), (), {"lin.weight": (8, 5)}),
    "SAGEConv": ((8, 5), (), {"lin_l.weight": (8, 5), "lin_r.weight": (8, 5)}),
    # the vectors of attention are gains
    "GATConv": ((8, 5, 2), (), {"lin.weight": (8, 10)}),
    "RGCNConv": ((8, 5, 3), (KINDS,), {"weight": (8, 5), "root": (8, 5)}),
    "FastRGCNConv": ((8, 5, 3), (KINDS,), {"weight": (8, 5), "root": (8, 5)}),
    "GatedGraphConv": (
        *((8, 2), ()),
        {"weight": (8, 8), "rnn.weight_ih": (8, 24), "rnn.weight_hh": (8, 24)},
    ),
    "CGConv": ((8, 4), (FEATURES,), {"lin_f.weight": (20, 8), "lin_s.weight": (20, 8)}),
    "ARMAConv": (
        *((8, 5, 2, 2), ()),
        {"weight": (5, 5), "init_weight": (8, 5), "root_weight": (8, 5)},
    ),
    # the Linear that generates matrices keeps its own fan
    "NNConv": (
        *((8, 5, nn.Linear(4, 40)), (FEATURES,)),
        {"nn.weight": (4, 40), "lin.weight": (8, 5)},
    ),
}


@pytest.mark.filterwarnings("ignore")  # of the package, about itself
@pytest.mark.parametrize(("name", "case"), GRAPHS.items(), ids=GRAPHS)
def test_torch_geometric(name, case):
    """Its Linear is none of torch's, and its experts are raw Parameters."""
    import torch_geometric

    sizes, more, expected = case
    layer = getattr(torch_geometric.nn, name)(*sizes)
    observed = observe(layer, torch.ones(3, 8), EDGES, *more)
    assert {name: fan[:2] for name, fan in observed.items()} == expected


def test_the_grouped_product_of_transformers():
    """Its own operation, which its experts use where torch has none."""
    importlib.import_module("transformers.integrations.moe")  # registers it
    product = torch.ops.transformers.grouped_mm_fallback
    model = Functional(lambda m, x, ends: product(x, m.w, ends), w=parameter(2, 8, 5))
    assert observe(model, torch.ones(4, 8), torch.tensor([2, 4])) == {"w": Fan(8, 5)}


def test_einmix():
    """The contracted axes of a pattern count together, and its batch axes for nothing."""
    from einops.layers.torch import EinMix

    mix = EinMix("b (h c) w -> b o w", weight_shape="h c o", bias_shape="o", h=2, c=4, o=5)
    assert observe(mix, torch.ones(3, 8, 7)) == {"weight": Fan(8, 5)}
    mix = EinMix("b h i -> b h o", weight_shape="h i o", h=2, i=4, o=5)
    assert observe(mix, torch.ones(3, 2, 4)) == {"weight": Fan(4, 5)}


def test_cost():
    """One forward: a third more than the plain one on a moderate model, never five times as much.

    Measured in processor time, and each as the best of several, against other work on the machine.
    """
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(128, 4, 512), 4, None, False)
    x = torch.randn(32, 4, 128)

    def best(call):
        times = []
        for _ in range(5):
            start = time.process_time()
            call()
            times.append(time.process_time() - start)
        return min(times)

    observe(model, x)
    assert best(lambda: observe(model, x)) < 5 * best(lambda: model(x))


def test_bert_has_its_positions_left_alone():
    """Negative control: tables that are added, and look-ups, are contracted by nothing."""
    model = transformers.BertModel(transformers.BertConfig(**BERT))
    left = [name for name, p in model.named_parameters() if p.dim() > 1]
    left = set(left) - set(observe(model, **TOKENS))
    tables = ("word", "position", "token_type")
    assert left == {f"embeddings.{name}_embeddings.weight" for name in tables}
