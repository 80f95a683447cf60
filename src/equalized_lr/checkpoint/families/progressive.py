"""Two PyTorch versions of PGGAN: the package pro-gan-pth and Facebook's GAN zoo."""

from __future__ import annotations

import math

from equalized_lr.checkpoint.family import Family
from equalized_lr.checkpoint.rows import Row, Scale, in_out_at_1x1, out_in

PRO_GAN_PTH = Family(
    "pro-gan-pth",
    "akanimax/pro_gan_pytorch (PyPI pro-gan-pth 3.4), custom_layers.py and modules.py",
    {
        "": (
            Row("layers.0.conv_1.weight", Scale("gain", in_out_at_1x1), "first layer", kernel=4),
            Row("layers.#.conv_(1|2|3).weight", Scale("gain", out_in), "kernel"),
            Row("layers.#.conv_(1|2|3).bias", why="bias"),
            Row("layers.#.label_embedder.weight", why="embedding"),
            Row("(rgb_converters.#|from_rgb.#.0).weight", Scale("gain", out_in), "RGB"),
            Row("(rgb_converters.#|from_rgb.#.0).bias", why="bias"),
        )
    },
    facts={"gain": math.sqrt(2)},
)

# The zoo multiplies the output of a layer, bias and all, so that biases are in units of c.
output = Scale("gain", out_in)
output_bias = Scale("gain", out_in, beside="weight")
LAYER = (
    "(scaleLayers.#.#|toRGBLayers.#|fromRGBLayers.#|formatLayer|groupScale0.#|groupScaleZero.#"
    "|decisionLayer|conv0|adain00.styleModulator|adain01.styleModulator"
    "|scaleLayers.#.#.styleModulator)(.module)?"
)

GAN_ZOO = Family(
    "gan-zoo",
    "facebookresearch/pytorch_GAN_zoo, models/networks/",
    {
        "": (
            Row(f"{LAYER}.weight", output, "layer"),
            Row(f"{LAYER}.bias", output_bias, "bias, times c"),
            Row("mapping.FC.#(.module)?.weight", Scale("gain", out_in, "lr_mul"), "mapping"),
            Row(
                "mapping.FC.#(.module)?.bias",
                Scale("gain", out_in, "lr_mul", beside="weight"),
                "mapping bias",
            ),
            Row("(noiseMod00|noiseMod01|noiseModulators.#.#).module.weight", why="noise strength"),
            Row("baseScale0", why="constant input"),
            Row("mean_w", why="buffer"),
        )
    },
    facts={"gain": math.sqrt(2), "lr_mul": 0.01},
)
