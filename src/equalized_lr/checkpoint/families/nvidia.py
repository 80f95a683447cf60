"""NVIDIA's PyTorch networks, and those with the same layers: StyleGAN2-ADA, 3, XL and T, EG3D."""

from __future__ import annotations

from equalized_lr.checkpoint.family import Family, one_table
from equalized_lr.checkpoint.rows import Row, Scale, fan_in, layer, mapping, out_in

ANYTHING = r"(\w|-|.)+"
LR_MUL = {"lr_mul": 0.01}

LABELS = layer("mapping.embed", fan_in, "label embedding", only="bias")
# StyleGAN-XL looks its classes up in an nn.Embedding, which has no bias, and projects them.
CLASSES = (
    Row("mapping.embed.weight", why="embedding", unless="bias"),
    *layer("mapping.embed_proj", fan_in, "class projection"),
)


def mapping_rows(name: str = "mapping") -> tuple[Row, ...]:
    """The mapping network."""
    return *mapping(f"{name}.fc#"), Row(f"{name}.w_avg", why="buffer")


# A demodulated weight is normalized when it is used, so that no constant would have an effect.
def synthesis_rows(block: str) -> tuple[Row, ...]:
    """StyleGAN2's synthesis network, whose blocks have this name."""
    return (
        *layer(f"{block}.(conv0|conv1|torgb).affine", fan_in, "style", "style bias"),
        Row(f"{block}.(conv0|conv1).weight", why="demodulated"),
        Row(f"{block}.torgb.weight", fan_in, "to RGB (in styles)"),
        Row(f"{block}.skip.weight", fan_in, "skip"),
        Row(f"{block}.(conv0|conv1|torgb).bias", why="bias"),
        Row(f"{block}.(conv0|conv1).noise_strength", why="noise strength"),
        Row(f"{block}.(conv0|conv1).noise_const", why="noise"),
        Row(f"{block}.((conv0|conv1|skip).)?resample_filter", why="blur kernel"),
        Row(f"{block}.const", why="constant input"),
    )


DISCRIMINATOR = (
    Row("b#.(fromrgb|conv0|conv1|skip|conv|fc|out).weight", fan_in, "discriminator"),
    Row("b#.(fromrgb|conv0|conv1|conv|fc|out).bias", why="bias"),
    Row("b#.((fromrgb|conv0|conv1|skip|conv).)?resample_filter", why="blur kernel"),
)
STYLEGAN2_ROWS = (*mapping_rows(), *LABELS, *synthesis_rows("synthesis.b#"), *DISCRIMINATOR)

INPUT = "(input|b#.input)"
FOURIER = (
    Row(f"synthesis.{INPUT}.weight", fan_in, "Fourier features"),
    *layer(f"synthesis.{INPUT}.affine", fan_in, "style", "style bias"),
    Row(f"synthesis.{INPUT}.(transform|freqs|phases)", why="buffer"),
)
STYLEGAN3_SYNTHESIS = (
    *FOURIER,
    *layer("synthesis.L#_#_#.affine", fan_in, "style", "style bias"),
    Row("synthesis.L#_#_#.weight", fan_in, "to RGB (in styles)", unless="up_filter", last=True),
    Row("synthesis.L#_#_#.weight", why="demodulated"),
    Row("synthesis.L#_#_#.bias", why="bias"),
    Row("synthesis.L#_#_#.magnitude_ema", why="buffer"),
    Row("synthesis.L#_#_#.(up_filter|down_filter)(4|16)?", why="filter"),
)
STYLEGAN_T_CONVS = "synthesis.b#.(conv0|convs1.#|torgb)"
STYLEGAN_T_ROWS = (
    *mapping_rows("mapping.mlp"),
    Row("mapping.x_avg", why="buffer"),
    Row(f"mapping.clip.{ANYTHING}", why="text encoder"),
    *FOURIER,
    *layer(f"{STYLEGAN_T_CONVS}.affine.proj", fan_in, "style", "style bias"),
    Row("synthesis.b#.convs1.#.norm.(weight|bias)", why="normalization"),
    Row("synthesis.b#.convs1.#.gamma", why="layer scale"),
    Row("synthesis.b#.torgb.weight", fan_in, "to RGB (in styles)"),
    Row("synthesis.b#.(conv0|convs1.#).weight", why="demodulated"),
    Row(f"{STYLEGAN_T_CONVS}.bias", why="bias"),
    Row("synthesis.b#.(conv0|convs1.#).(noise_strength|noise_const)", why="noise"),
    Row("synthesis.b#.((conv0|convs1.#).)?resample_filter", why="blur kernel"),
    *layer("heads.#.cmapper", fan_in, "condition"),
    Row(f"heads.#.(main|cls).{ANYTHING}", why="spectral norm"),
    Row(f"dino.{ANYTHING}", why="feature network"),
)

STYLEGAN2_ADA = Family(
    "stylegan2-ada",
    "NVlabs/stylegan2-ada-pytorch, training/networks.py",
    one_table(*STYLEGAN2_ROWS),
    facts=LR_MUL,
)
STYLEGAN3 = Family(
    "stylegan3",
    "NVlabs/stylegan3, training/networks_stylegan2.py and networks_stylegan3.py",
    one_table(*STYLEGAN3_SYNTHESIS, *STYLEGAN2_ROWS),
    facts=LR_MUL,
)
STYLEGAN_XL = Family(
    "stylegan-xl",
    "autonomousvision/stylegan-xl, training/networks_stylegan3_resetting.py, pg_modules/",
    one_table(
        *mapping_rows(),
        *CLASSES,
        *STYLEGAN3_SYNTHESIS,
        *layer(f"discriminators.{ANYTHING}.embed_proj", fan_in, "class projection"),
        Row(f"discriminators.{ANYTHING}", why="spectral norm"),
        Row(f"feature_networks.{ANYTHING}", why="feature network"),
    ),
    facts=LR_MUL,
    sign="(mapping.embed.|embed_proj.)",
)
STYLEGAN_T = Family(
    "stylegan-t",
    "autonomousvision/stylegan-t, networks/generator.py, discriminator.py and shared.py",
    one_table(*STYLEGAN_T_ROWS),
    facts=LR_MUL,
)
EG3D = Family(
    "eg3d",
    "NVlabs/eg3d, eg3d/training/triplane.py, superresolution.py and dual_discriminator.py",
    one_table(
        *mapping_rows(),
        *LABELS,
        *synthesis_rows("synthesis.b#"),
        *synthesis_rows("superresolution.block#"),
        Row("(superresolution.)?resample_filter", why="blur kernel"),
        Row("decoder.net.#.weight", Scale(1.0, out_in, "decoder_lr_mul"), "decoder"),
        Row("decoder.net.#.bias", Scale(lr_mul="decoder_lr_mul"), "decoder bias"),
        *DISCRIMINATOR,
    ),
    facts={**LR_MUL, "decoder_lr_mul": 1.0},
    prefix="(module.)?(backbone.)?",
    sign="^(module.)?(backbone.|superresolution.|decoder.net.|resample_filter$)",
)
