"""Two PyTorch versions of PGGAN: the package pro-gan-pth and Facebook's GAN zoo."""

from __future__ import annotations

import math
from dataclasses import replace

from equalized_lr.checkpoint.family import Family, one_table
from equalized_lr.checkpoint.rows import (
    Row,
    Scale,
    in_out_at_1x1,
    layer,
    mapping,
    slow_with_gain,
    with_gain,
)

PRO_GAN_PTH = Family(
    "pro-gan-pth",
    "akanimax/pro_gan_pytorch (PyPI pro-gan-pth 3.4), custom_layers.py and modules.py",
    one_table(
        Row("layers.0.conv_1.weight", Scale("gain", in_out_at_1x1), "first layer", kernel=4),
        *layer("layers.#.conv_(1|2|3)", with_gain, "kernel"),
        Row("layers.#.label_embedder.weight", why="embedding"),
        *layer("(rgb_converters.#|from_rgb.#.0)", with_gain, "RGB"),
    ),
    facts={"gain": math.sqrt(2)},
)

# The zoo multiplies the output of a layer, bias and all, so that biases are in units of c.
LAYER = (
    "(scaleLayers.#.#|toRGBLayers.#|fromRGBLayers.#|formatLayer|groupScale0.#|groupScaleZero.#"
    "|decisionLayer|conv0|adain00.styleModulator|adain01.styleModulator"
    "|scaleLayers.#.#.styleModulator)(.module)?"
)

GAN_ZOO = Family(
    "gan-zoo",
    "facebookresearch/pytorch_GAN_zoo, models/networks/",
    one_table(
        Row(f"{LAYER}.weight", with_gain, "layer"),
        Row(f"{LAYER}.bias", replace(with_gain, beside="weight"), "bias, times c"),
        *mapping(
            "mapping.FC.#(.module)?", slow_with_gain, replace(slow_with_gain, beside="weight")
        ),
        Row("(noiseMod00|noiseMod01|noiseModulators.#.#).module.weight", why="noise strength"),
        Row("baseScale0", why="constant input"),
        Row("mean_w", why="buffer"),
    ),
    facts={"gain": math.sqrt(2), "lr_mul": 0.01},
)
