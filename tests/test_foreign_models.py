"""Models that nobody here wrote: equalize, train, copy, give back.

The models of transformers are built from small configurations with random weights.
"""

import copy

import pytest
import torch
from torch import nn

from assertions import assert_equal
from equalized_lr import Fan, equalize_lr, fans, he_scales, remove_equalized_lr

transformers = pytest.importorskip("transformers")

# transformers' Conv1D, of which GPT-2 consists, is no layer of torch.nn: it has to be registered.
fans.register(transformers.pytorch_utils.Conv1D, lambda layer: {"weight": Fan(layer.nx, layer.nf)})

IDS = torch.arange(12).reshape(2, 6)
WIDTH = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 20}
BERT = WIDTH | {"intermediate_size": 24, "max_position_embeddings": 16}
IMAGE = {"image_size": 16, "patch_size": 4}
PIXELS = {"pixel_values": torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))}
TOKENS = {"input_ids": IDS}
BOTH = TOKENS | {"decoder_input_ids": IDS}


def hub(name, config, inputs):
    """A model of transformers by its class names, its configuration and its inputs."""

    def make():
        kind, _, head = name.partition(":")
        settings = getattr(transformers, f"{kind}Config")(**config)
        return getattr(transformers, f"{kind}{head or 'Model'}")(settings)

    return pytest.param(make, inputs, id=name.replace(":", ""))


def own(kind, *args, inputs, **options):
    """A model of torch.nn."""
    return pytest.param(lambda: kind(*args, **options), inputs, id=kind.__name__)


def encoder():
    """A stack of layers that torch runs through fused code if it can."""
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, 0.0), 2)


T5 = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "vocab_size": 20}
BART = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "vocab_size": 20,
    "max_position_embeddings": 16,
    "pad_token_id": 1,
}
LLAMA = BERT | {"num_key_value_heads": 1}
SEQUENCE = torch.randn(5, 2, 8, generator=torch.Generator().manual_seed(0))
CLASSES = {"input_": SEQUENCE[0], "target_": torch.tensor([0, 9])}

DISTILBERT = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "vocab_size": 20}
GPT2 = {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 20, "n_positions": 16}
MAMBA = {"hidden_size": 16, "num_hidden_layers": 2, "vocab_size": 20, "state_size": 4}
VIT = WIDTH | IMAGE | {"intermediate_size": 24}
STAGES = {"hidden_sizes": [8, 16], "depths": [1, 1]}
SWIN = {"image_size": 16, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2]}

MODELS = [
    hub("Bert:ForMaskedLM", BERT, TOKENS),
    hub("Roberta", BERT, TOKENS),
    hub("Electra", BERT | {"embedding_size": 8}, TOKENS),
    hub("DistilBert:ForMaskedLM", DISTILBERT, TOKENS),
    hub("GPT2:LMHeadModel", GPT2, TOKENS),
    hub("GPTNeoX:ForCausalLM", BERT, TOKENS),
    hub("Llama:ForCausalLM", LLAMA | {"tie_word_embeddings": True}, TOKENS),
    hub("Mistral:ForCausalLM", LLAMA, TOKENS),
    hub("T5:ForConditionalGeneration", T5, BOTH),
    hub("Bart:ForConditionalGeneration", BART, BOTH),
    hub("Mamba:ForCausalLM", MAMBA, TOKENS),
    hub("ViT:ForImageClassification", VIT, PIXELS),
    hub("Swin", SWIN | {"window_size": 4}, PIXELS),
    hub("ConvNext", STAGES | {"num_stages": 2, "patch_size": 2}, PIXELS),
    hub("ResNet", STAGES | {"embedding_size": 8}, PIXELS),
    own(nn.Transformer, 8, 2, 1, 1, 16, 0.0, inputs={"src": SEQUENCE, "tgt": SEQUENCE}),
    own(encoder, inputs={"src": SEQUENCE}),
    own(nn.LSTM, 8, 6, 2, bidirectional=True, inputs={"input": SEQUENCE}),
    own(nn.MultiheadAttention, 8, 2, inputs=dict.fromkeys(("query", "key", "value"), SEQUENCE)),
    own(nn.AdaptiveLogSoftmaxWithLoss, 8, 12, [4, 8], div_value=2.0, inputs=CLASSES),
]


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


# transformers' deep models amplify the rounding of single weights by their norms and residuals;
# in double precision 1e-9 still leaves six digits between that and any real difference.
def assert_close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("make", "inputs"), MODELS)
def test_a_model_of_others(make, inputs):
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
    twin = copy.deepcopy(model)
    assert_equal(output(twin, inputs), trained)
    remove_equalized_lr(model)
    assert_close(output(model, inputs), trained)
    assert list(model.state_dict()) == keys
    assert_equal(output(twin, inputs), trained)
