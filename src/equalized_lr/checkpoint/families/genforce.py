"""GenForce's PGGAN, StyleGAN and StyleGAN2, whose names are alike and whose gains are not."""

from __future__ import annotations

import math

from equalized_lr.checkpoint.family import Family, by_names
from equalized_lr.checkpoint.rows import (
    Row,
    Scale,
    fan_in,
    in_is_larger,
    layer,
    mapping,
    slow_with_gain,
    with_gain,
)

# A fused up-convolution is (in, out, kernel), and nothing but its shape can tell.
PGGAN = (
    Row("layer#.weight", Scale("gain", in_is_larger), "kernel"),
    Row("output#.weight", fan_in, "to RGB"),
    Row("(layer#|output#).bias", why="bias"),
    Row("lod", why="level of detail"),
)
DISCRIMINATOR = (
    Row("layer#.weight", fan_in, "output", ndim=(2,), last=True),
    *layer("(layer#|input#)", with_gain, "kernel"),
    Row("layer#.(blur|filter).kernel", why="blur kernel"),
    Row("lod", why="level of detail"),
)
BUFFERS = (
    Row("mapping.label_weight", why="label embedding"),
    Row("truncation.w_avg", why="buffer"),
    Row("synthesis.(layer#.)?(blur|filter|upsample).kernel", why="blur kernel"),
    Row("synthesis.lod", why="level of detail"),
)
STYLEGAN = (
    *mapping("mapping.dense#", slow_with_gain),
    Row("synthesis.layer#.weight", with_gain, "kernel"),
    Row("synthesis.output#.weight", fan_in, "to RGB"),
    Row("synthesis.(layer#|output#).bias", why="bias"),
    *layer("synthesis.layer#.style", fan_in, "style", "style bias, +1"),
    Row("synthesis.layer#.apply_noise.weight", why="noise strength"),
    Row("synthesis.layer#.apply_noise.noise", why="noise"),
    Row("synthesis.layer#.const", why="constant input"),
    *BUFFERS,
)
STYLEGAN2 = (
    *mapping("mapping.dense#"),
    Row("synthesis.(early_layer|layer#|output#|skip_layer#).weight", fan_in, "kernel"),
    Row("synthesis.(early_layer|layer#|output#).bias", why="bias"),
    *layer("synthesis.(layer#|output#).style", fan_in, "style", "style bias, +1"),
    Row("synthesis.layer#.noise_strength", why="noise strength"),
    Row("synthesis.layer#.noise", why="noise"),
    Row("synthesis.early_layer.const", why="constant input"),
    *BUFFERS,
)
STYLEGAN2_DISCRIMINATOR = (
    Row("(layer#|input#|skip_layer#).weight", fan_in, "kernel"),
    Row("(layer#|input#).bias", why="bias"),
    Row("((layer#|skip_layer#).filter|downsample).kernel", why="blur kernel"),
)

PREFIX = "(module.)?"
SIGNS = {
    "stylegan2": r"synthesis.((layer#.)noise_strength|early_layer)",
    "stylegan": r"synthesis.layer#.apply_noise.",
    "pggan": f"^{PREFIX}output#.",
    "stylegan2-discriminator": f"^{PREFIX}(layer#.filter|skip_layer#).",
    "discriminator": f"^{PREFIX}input#.",
}

GENFORCE = Family(
    "genforce",
    "genforce/genforce and genforce/sefa, models/",
    {
        "pggan": PGGAN,
        "stylegan": STYLEGAN,
        "stylegan2": STYLEGAN2,
        "discriminator": DISCRIMINATOR,
        "stylegan2-discriminator": STYLEGAN2_DISCRIMINATOR,
    },
    facts={"gain": math.sqrt(2), "lr_mul": 0.01},
    prefix=PREFIX,
    variant="architecture",
    detect=by_names(SIGNS, first=True),
)
