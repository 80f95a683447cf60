"""rosinality's progressive and style-based GANs, whose hook keeps `weight_orig`."""

from __future__ import annotations

import math
from functools import partial

from equalized_lr.checkpoint.family import Family, one_table
from equalized_lr.checkpoint.rows import Row, Scale, in_out, layer, with_gain

hooked = partial(layer, suffix="_orig")

ROSINALITY_PROGRESSIVE = Family(
    "rosinality-progressive",
    "rosinality/progressive-gan-pytorch, model.py",
    one_table(
        *hooked("progression.#.conv.#.conv", with_gain, "kernel"),
        Row("(to_rgb.#|from_rgb.#|linear).weight", why="plain layer"),
        Row("(to_rgb.#|from_rgb.#|linear).bias", why="bias"),
        Row("label_embed.weight", why="embedding"),
    ),
    facts={"gain": math.sqrt(2)},
)

# Blur kernels are called weight as well; fused layers keep their own weight, without a suffix.
ROSINALITY_STYLEGAN = Family(
    "rosinality-stylegan",
    "rosinality/style-based-gan-pytorch, model.py",
    one_table(
        *hooked("progression.#.conv(1|2)?(.#)?.conv", with_gain, "kernel"),
        Row("progression.#.conv1.0.weight", Scale("gain", in_out), "fused up-conv."),
        Row("progression.#.conv2.1.weight", with_gain, "fused down-conv."),
        Row("progression.#.(conv1.0|conv2.1).bias", why="bias"),
        Row("progression.#.(conv1.1|conv1.2|conv2.0).(weight|weight_flip)", why="blur kernel"),
        *hooked("progression.#.adain(1|2).style.linear", with_gain, "style", "style bias"),
        Row("progression.#.noise(1|2).weight", with_gain, "noise strength", suffix="_orig"),
        Row("progression.0.conv1.input", why="constant input"),
        *hooked("(to_rgb.#|from_rgb.#|from_rgb.#.0).conv", with_gain, "RGB"),
        *hooked("(style.#|linear).linear", with_gain, "dense"),
    ),
    facts={"gain": math.sqrt(2)},
    prefix="(module.)?(generator.)?",
)
