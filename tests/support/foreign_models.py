"""Models that nobody here wrote, small: builders with random weights, and inputs that fit."""

import diffusers
import pytest
import torch
import transformers
from torch import nn

from equalized_lr import Fan, fans

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


def diffusion(name, config, inputs):
    """A model of diffusers."""
    return pytest.param(lambda: getattr(diffusers, name)(**config), inputs, id=name)


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

IMAGES = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
NOISY = {"sample": IMAGES, "timestep": torch.tensor([3])}

# fmt: off
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
    hub("Albert:ForMaskedLM", BERT | {"embedding_size": 8}, TOKENS),
    hub("DebertaV2", BERT, TOKENS),
    hub("MPNet", BERT, TOKENS),
    hub("XLMRoberta", BERT, TOKENS),
    hub("FNet", BERT, TOKENS),
    hub("ConvBert", BERT | {"embedding_size": 16, "num_groups": 1, "head_ratio": 2}, TOKENS),
    hub("BigBird", BERT | {"attention_type": "original_full"}, TOKENS),
    hub("Nystromformer", BERT | {"num_landmarks": 2, "segment_means_seq_len": 2}, TOKENS),
    hub("OPT:ForCausalLM", WIDTH | {"ffn_dim": 24, "max_position_embeddings": 16,
        "word_embed_proj_dim": 16}, TOKENS),
    hub("Gemma:ForCausalLM", LLAMA | {"head_dim": 8}, TOKENS),
    hub("Qwen2:ForCausalLM", LLAMA, TOKENS),
    hub("Phi:ForCausalLM", LLAMA, TOKENS),
    hub("Falcon:ForCausalLM", BERT, TOKENS),
    hub("Bloom:ForCausalLM", {"hidden_size": 16, "n_layer": 2, "n_head": 2, "vocab_size": 20},
        TOKENS),
    hub("Mamba2:ForCausalLM", {"hidden_size": 16, "num_hidden_layers": 2, "vocab_size": 20,
        "state_size": 4, "num_heads": 4, "head_dim": 8, "n_groups": 1, "chunk_size": 4}, TOKENS),
    hub("Marian:MTModel", BART | {"decoder_start_token_id": 1}, BOTH),
    hub("Pegasus", BART, BOTH),
    hub("Esm", BERT | {"pad_token_id": 1, "mask_token_id": 2}, TOKENS),
    hub("Funnel", {"d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 24, "block_sizes": [1,
        1], "vocab_size": 20}, TOKENS),
    hub("DeiT", WIDTH | IMAGE | {"intermediate_size": 24}, PIXELS),
    hub("Beit", VIT, PIXELS),
    hub("Swinv2", SWIN | {"window_size": 4}, PIXELS),
    hub("Dinov2", WIDTH | IMAGE | {"mlp_ratio": 2}, PIXELS),
    hub("ConvNextV2", STAGES | {"num_stages": 2, "patch_size": 2}, PIXELS),
    hub("RegNet", STAGES | {"embedding_size": 8, "groups_width": 4}, PIXELS),
    hub("Segformer", {"num_encoder_blocks": 2, "depths": [1, 1], "sr_ratios": [2, 1],
        "hidden_sizes": [8, 16], "patch_sizes": [3, 3], "strides": [2, 2],
        "num_attention_heads": [1, 2], "mlp_ratios": [2, 2]}, PIXELS),
    hub("Whisper", {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1,
        "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 24,
        "decoder_ffn_dim": 24, "vocab_size": 20, "num_mel_bins": 4, "max_source_positions": 8,
        "max_target_positions": 16, "pad_token_id": 1, "decoder_start_token_id": 1,
        "bos_token_id": 1, "eos_token_id": 1}, {"input_features": torch.randn(1, 4, 16),
        "decoder_input_ids": IDS}),
    hub("AST", WIDTH | {"intermediate_size": 24, "patch_size": 4, "max_length": 16,
        "num_mel_bins": 8, "frequency_stride": 4, "time_stride": 4}, {"input_values":
        torch.randn(1, 16, 8)}),
    hub("CLIPText", BERT | {"projection_dim": 8, "eos_token_id": 2}, TOKENS),
    hub("PatchTST", {"num_input_channels": 2, "context_length": 8, "patch_length": 2,
        "patch_stride": 2, "d_model": 16, "num_attention_heads": 2, "num_hidden_layers": 1,
        "ffn_dim": 24}, {"past_values": torch.randn(1, 8, 2)}),
    hub("VideoMAE", VIT | {"num_frames": 2, "tubelet_size": 2}, {"pixel_values": torch.randn(1,
        2, 3, 16, 16)}),
    hub("PoolFormer", {"hidden_sizes": [8, 16], "depths": [1, 1], "patch_sizes": [3, 3],
        "strides": [2, 2], "padding": [1, 1], "num_encoder_blocks": 2}, PIXELS),
    diffusion("UNet2DModel", {"sample_size": 16, "in_channels": 3, "out_channels": 3,
        "block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4,
        "attention_head_dim": 4, "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}, NOISY),
    diffusion("UNet2DConditionModel", {"sample_size": 16, "in_channels": 3, "out_channels": 3,
        "block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4,
        "attention_head_dim": 4, "cross_attention_dim": 8, "down_block_types": ("DownBlock2D",
        "CrossAttnDownBlock2D"), "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D")}, NOISY |
        {"encoder_hidden_states": torch.randn(1, 4, 8)}),
    diffusion("AutoencoderKL", {"block_out_channels": (8, 16), "norm_num_groups": 4,
        "layers_per_block": 1, "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2}, {"sample": IMAGES}),
    diffusion("VQModel", {"block_out_channels": (8,), "norm_num_groups": 4, "num_vq_embeddings":
        8}, {"sample": IMAGES}),
    diffusion("DiTTransformer2DModel", {"num_attention_heads": 2, "attention_head_dim": 4,
        "in_channels": 3, "out_channels": 3, "num_layers": 1, "sample_size": 8,
        "num_embeds_ada_norm": 10, "patch_size": 2, "norm_num_groups": 1}, {"hidden_states":
        torch.randn(1, 3, 8, 8), "timestep": torch.tensor([3]), "class_labels":
        torch.tensor([1])}),
    diffusion("SD3Transformer2DModel", {"sample_size": 8, "patch_size": 2, "in_channels": 3,
        "out_channels": 3, "num_layers": 2, "attention_head_dim": 4, "num_attention_heads": 2,
        "joint_attention_dim": 8, "caption_projection_dim": 8, "pooled_projection_dim": 8,
        "pos_embed_max_size": 8}, {"hidden_states": torch.randn(1, 3, 8, 8),
        "encoder_hidden_states": torch.randn(1, 3, 8), "pooled_projections": torch.randn(1, 8),
        "timestep": torch.tensor([3.0])}),
    diffusion("PriorTransformer", {"num_attention_heads": 2, "attention_head_dim": 4,
        "num_layers": 1, "embedding_dim": 8, "num_embeddings": 4}, {"hidden_states":
        torch.randn(1, 8), "timestep": torch.tensor([3]), "proj_embedding": torch.randn(1, 8),
        "encoder_hidden_states": torch.randn(1, 4, 8)}),
]
# fmt: on
