"""Networks that took their layers from rosinality's StyleGAN2: SWAGAN, LIA, FLOAT, StyleSwin."""

from __future__ import annotations

from dataclasses import replace

from equalized_lr.checkpoint.families.nvidia import ANYTHING, LR_MUL
from equalized_lr.checkpoint.families.stylegan2 import (
    FINAL,
    ROSINALITY_STYLEGAN2,
    modulated_rows,
)
from equalized_lr.checkpoint.family import Family, one_table
from equalized_lr.checkpoint.rows import Row, fan_in, layer, mapping

WAVELET_DISCRIMINATOR = (
    Row("((to_rgbs|from_rgbs).#.)?(iwt|dwt).(ll|lh|hl|hh)", why="wavelet"),
    Row("from_rgbs.#.conv.0.weight", fan_in, "from RGB"),
    Row("from_rgbs.#.conv.1.bias", why="bias"),
    Row("from_rgbs.#.downsample.kernel", why="blur kernel"),
    Row("convs.#.(conv1.0|conv2.1).weight", fan_in, "kernel", ndim=(4,)),
    Row("convs.#.(conv1.1|conv2.2).bias", why="bias"),
    Row("convs.#.conv2.0.kernel", why="blur kernel"),
    *FINAL,
)

SWAGAN = Family(
    "swagan",
    "rosinality/stylegan2-pytorch, swagan.py",
    one_table(*WAVELET_DISCRIMINATOR, *ROSINALITY_STYLEGAN2.tables[""]),
    facts=LR_MUL,
    sign="(iwt|dwt).",
)

# The directions are orthogonalized when they are used.
LIA = Family(
    "lia",
    "wyhsirius/LIA, networks/encoder.py and styledecoder.py",
    one_table(
        Row("enc.net_app.convs.(#|#.0|#.conv1.0|#.conv2.1|#.skip.1).weight", fan_in, "kernel"),
        Row("enc.net_app.convs.#.(1|conv1.1|conv2.2).bias", why="bias"),
        Row("enc.net_app.convs.#.(conv2.0|skip.0).kernel", why="blur kernel"),
        *layer("enc.fc.#", fan_in, "motion encoder"),
        Row("dec.direction.weight", why="directions"),
        Row("dec.input.input", why="constant input"),
        *modulated_rows("dec.(conv1|convs.#|to_flows.#).conv"),
        Row("dec.(conv1|convs.#).noise.weight", why="noise strength"),
        Row("dec.(conv1|convs.#).activate.bias", why="bias"),
        Row("dec.(to_rgb1|to_rgbs.#).conv.0.weight", fan_in, "to RGB", ndim=(4,)),
        Row("dec.(to_rgb1|to_rgbs.#).conv.1.bias", why="bias"),
        Row("dec.(to_rgb1|to_rgbs.#|to_flows.#).bias", why="bias"),
        Row("dec.(convs.#.conv.blur|(to_rgbs|to_flows).#.upsample).kernel", why="blur kernel"),
    ),
)
FLOAT = replace(
    LIA,
    name="float",
    source="deepbrainai-research/float, models/float/FLOAT.py, encoder.py and styledecoder.py",
    tables=one_table(
        *LIA.tables[""],
        Row(f"(audio_encoder|emotion_encoder|fmt).{ANYTHING}", why="plain network"),
    ),
    prefix="(module.)?(motion_autoencoder.)?",
    sign="motion_autoencoder.",
)

BLOCK = "layers.#.blocks.#"
STYLESWIN = Family(
    "styleswin",
    "microsoft/StyleSwin, models/generator.py, discriminator.py and basic_layers.py",
    one_table(
        *mapping("style.#"),
        Row("input.input", why="constant input"),
        *layer(f"{BLOCK}.(norm1|norm2).style", fan_in, "style", "style bias"),
        Row(f"{BLOCK}.(qkv|proj|mlp.fc1|mlp.fc2).(weight|bias)", why="plain layer"),
        Row(f"{BLOCK}.attn.#.relative_position_(bias_table|index)", why="positions"),
        Row(f"{BLOCK}.(attn_mask1|attn_mask2)", why="buffer"),
        Row("layers.#.upsample.(norm|reduction).(weight|bias)", why="plain layer"),
        Row("layers.#.upsample.(alpha|sin_pos_embed._float_tensor)", why="positions"),
        Row("to_rgbs.#.conv.(weight|bias)", why="plain layer"),
        Row("to_rgbs.#.bias", why="bias"),
        Row("to_rgbs.#.upsample.kernel", why="blur kernel"),
        *WAVELET_DISCRIMINATOR,
        Row(
            "(from_rgbs.#.conv.0|convs.#.conv1.0|convs.#.conv2.1|final_conv.0|final_linear.#)"
            ".(weight_orig|weight_u|weight_v)",
            why="spectral norm",
        ),
    ),
    facts=LR_MUL,
    sign="(blocks.#|from_rgbs.#|dwt).",
)
