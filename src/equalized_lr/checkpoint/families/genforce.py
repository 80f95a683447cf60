"""GenForce's PGGAN, StyleGAN and StyleGAN2, whose names are alike and whose gains are not."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from torch import Tensor

from equalized_lr.checkpoint.family import Family
from equalized_lr.checkpoint.rows import Row, Scale, in_is_larger, out_in, pattern

with_gain = Scale("gain", out_in)
no_gain = Scale(1.0, out_in)
slow_bias = Scale(lr_mul="lr_mul")

# A fused up-convolution is (in, out, kernel), and nothing but its shape can tell.
PGGAN = (
    Row("layer#.weight", Scale("gain", in_is_larger), "kernel"),
    Row("output#.weight", no_gain, "to RGB"),
    Row("(layer#|output#).bias", why="bias"),
    Row("lod", why="level of detail"),
)
DISCRIMINATOR = (
    Row("layer#.weight", no_gain, "output", ndim=(2,), last=True),
    Row("(layer#|input#).weight", with_gain, "kernel"),
    Row("(layer#|input#).bias", why="bias"),
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
    Row("mapping.dense#.weight", Scale("gain", out_in, "lr_mul"), "mapping"),
    Row("mapping.dense#.bias", slow_bias, "mapping bias"),
    Row("synthesis.layer#.weight", with_gain, "kernel"),
    Row("synthesis.output#.weight", no_gain, "to RGB"),
    Row("synthesis.(layer#|output#).bias", why="bias"),
    Row("synthesis.layer#.style.weight", no_gain, "style"),
    Row("synthesis.layer#.style.bias", why="style bias, +1"),
    Row("synthesis.layer#.apply_noise.weight", why="noise strength"),
    Row("synthesis.layer#.apply_noise.noise", why="noise"),
    Row("synthesis.layer#.const", why="constant input"),
    *BUFFERS,
)
STYLEGAN2 = (
    Row("mapping.dense#.weight", Scale(1.0, out_in, "lr_mul"), "mapping"),
    Row("mapping.dense#.bias", slow_bias, "mapping bias"),
    Row("synthesis.(early_layer|layer#|output#|skip_layer#).weight", no_gain, "kernel"),
    Row("synthesis.(early_layer|layer#|output#).bias", why="bias"),
    Row("synthesis.(layer#|output#).style.weight", no_gain, "style"),
    Row("synthesis.(layer#|output#).style.bias", why="style bias, +1"),
    Row("synthesis.layer#.noise_strength", why="noise strength"),
    Row("synthesis.layer#.noise", why="noise"),
    Row("synthesis.early_layer.const", why="constant input"),
    *BUFFERS,
)
STYLEGAN2_DISCRIMINATOR = (
    Row("(layer#|input#|skip_layer#).weight", no_gain, "kernel"),
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


def first_sign(state: Mapping[str, Tensor], plain: bool) -> str | None:
    """The first architecture whose sign is in a key."""
    for name, sign in SIGNS.items():
        if any(re.search(pattern(sign), key) for key in state):
            return name
    return None


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
    detect=first_sign,
)
