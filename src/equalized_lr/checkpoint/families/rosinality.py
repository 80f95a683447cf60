"""rosinality's progressive and style-based GANs, whose hook keeps `weight_orig`."""

from __future__ import annotations

import math

from equalized_lr.checkpoint.family import Family
from equalized_lr.checkpoint.rows import Row, Scale, in_out, out_in

hooked = Scale("gain", out_in)

ROSINALITY_PROGRESSIVE = Family(
    "rosinality-progressive",
    "rosinality/progressive-gan-pytorch, model.py",
    {
        "": (
            Row("progression.#.conv.#.conv.weight", hooked, "kernel", suffix="_orig"),
            Row("progression.#.conv.#.conv.bias", why="bias"),
            Row("(to_rgb.#|from_rgb.#|linear).weight", why="plain layer"),
            Row("(to_rgb.#|from_rgb.#|linear).bias", why="bias"),
            Row("label_embed.weight", why="embedding"),
        )
    },
    facts={"gain": math.sqrt(2)},
)

# Blur kernels are called weight as well; fused layers keep their own weight, without a suffix.
ROSINALITY_STYLEGAN = Family(
    "rosinality-stylegan",
    "rosinality/style-based-gan-pytorch, model.py",
    {
        "": (
            Row("progression.#.conv(1|2)?(.#)?.conv.weight", hooked, "kernel", suffix="_orig"),
            Row("progression.#.conv(1|2)?(.#)?.conv.bias", why="bias"),
            Row("progression.#.conv1.0.weight", Scale("gain", in_out), "fused up-conv."),
            Row("progression.#.conv2.1.weight", hooked, "fused down-conv."),
            Row("progression.#.(conv1.0|conv2.1).bias", why="bias"),
            Row("progression.#.(conv1.1|conv1.2|conv2.0).(weight|weight_flip)", why="blur kernel"),
            Row("progression.#.adain(1|2).style.linear.weight", hooked, "style", suffix="_orig"),
            Row("progression.#.adain(1|2).style.linear.bias", why="style bias"),
            Row("progression.#.noise(1|2).weight", hooked, "noise strength", suffix="_orig"),
            Row("progression.0.conv1.input", why="constant input"),
            Row("(to_rgb.#|from_rgb.#|from_rgb.#.0).conv.weight", hooked, "RGB", suffix="_orig"),
            Row("(to_rgb.#|from_rgb.#|from_rgb.#.0).conv.bias", why="bias"),
            Row("(style.#|linear).linear.weight", hooked, "dense", suffix="_orig"),
            Row("(style.#|linear).linear.bias", why="bias"),
        )
    },
    facts={"gain": math.sqrt(2)},
    prefix="(module.)?(generator.)?",
)
