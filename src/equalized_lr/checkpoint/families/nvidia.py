"""NVIDIA's PyTorch networks: StyleGAN2-ADA and StyleGAN3."""

from __future__ import annotations

from equalized_lr.checkpoint.family import Family
from equalized_lr.checkpoint.rows import Row, Scale, out_in

fan_in = Scale(1.0, out_in)

MAPPING = (
    Row("mapping.fc#.weight", Scale(1.0, out_in, "lr_mul"), "mapping"),
    Row("mapping.fc#.bias", Scale(lr_mul="lr_mul"), "mapping bias"),
    Row("mapping.embed.weight", fan_in, "label embedding"),
    Row("mapping.embed.bias", why="bias"),
    Row("mapping.w_avg", why="buffer"),
)

# A demodulated weight is normalized when it is used, so that no constant would have an effect.
STYLEGAN2_ROWS = (
    *MAPPING,
    Row("synthesis.b#.(conv0|conv1|torgb).affine.weight", fan_in, "style"),
    Row("synthesis.b#.(conv0|conv1|torgb).affine.bias", why="style bias"),
    Row("synthesis.b#.(conv0|conv1).weight", why="demodulated"),
    Row("synthesis.b#.torgb.weight", fan_in, "to RGB (in styles)"),
    Row("synthesis.b#.skip.weight", fan_in, "skip"),
    Row("synthesis.b#.(conv0|conv1|torgb).bias", why="bias"),
    Row("synthesis.b#.(conv0|conv1).noise_strength", why="noise strength"),
    Row("synthesis.b#.(conv0|conv1).noise_const", why="noise"),
    Row("synthesis.b#.((conv0|conv1|skip).)?resample_filter", why="blur kernel"),
    Row("synthesis.b#.const", why="constant input"),
    Row("b#.(fromrgb|conv0|conv1|skip|conv|fc|out).weight", fan_in, "discriminator"),
    Row("b#.(fromrgb|conv0|conv1|conv|fc|out).bias", why="bias"),
    Row("b#.((fromrgb|conv0|conv1|skip|conv).)?resample_filter", why="blur kernel"),
)

STYLEGAN3_ROWS = (
    Row("synthesis.input.weight", fan_in, "Fourier features"),
    Row("synthesis.input.affine.weight", fan_in, "style"),
    Row("synthesis.input.affine.bias", why="style bias"),
    Row("synthesis.input.(transform|freqs|phases)", why="buffer"),
    Row("synthesis.L#_#_#.affine.weight", fan_in, "style"),
    Row("synthesis.L#_#_#.affine.bias", why="style bias"),
    Row("synthesis.L#_#_#.weight", fan_in, "to RGB (in styles)", unless="up_filter", last=True),
    Row("synthesis.L#_#_#.weight", why="demodulated"),
    Row("synthesis.L#_#_#.bias", why="bias"),
    Row("synthesis.L#_#_#.magnitude_ema", why="buffer"),
    Row("synthesis.L#_#_#.(up_filter|down_filter)", why="filter"),
    *STYLEGAN2_ROWS,
)

STYLEGAN2_ADA = Family(
    "stylegan2-ada",
    "NVlabs/stylegan2-ada-pytorch, training/networks.py",
    {"": STYLEGAN2_ROWS},
    facts={"lr_mul": 0.01},
)

STYLEGAN3 = Family(
    "stylegan3",
    "NVlabs/stylegan3, training/networks_stylegan2.py and networks_stylegan3.py",
    {"": STYLEGAN3_ROWS},
    facts={"lr_mul": 0.01},
)
