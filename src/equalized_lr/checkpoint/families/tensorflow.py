"""NVIDIA's TensorFlow networks: PGGAN, StyleGAN and StyleGAN2, by the names of their variables.

Dense weights are (in, out), kernels (height, width, in, out). A fused up-convolution scatters its
kernel instead of gathering with it, which is the mirrored kernel on the upsampled input; plain
kernels are all meant for conv2d, after the upsampling or before the averaging.
"""

from __future__ import annotations

import math
from dataclasses import replace

from equalized_lr.checkpoint.family import Family, by_names, one_table
from equalized_lr.checkpoint.rows import Row, Scale, kernel_in_out, kernel_out_in, layer, mapping

DENSE = (1, 0)
KERNEL = (3, 2, 0, 1)
UP_KERNEL = (2, 3, 0, 1)

with_gain = Scale("gain", kernel_in_out)
quarter_gain = replace(with_gain, times=0.25)
no_gain = replace(with_gain, gain=1.0)
slow = replace(with_gain, lr_mul="lr_mul")

DISCRIMINATOR = (
    Row("4x4.Dense0.weight", with_gain, "dense", order=DENSE),
    Row("4x4.Dense1.weight", no_gain, "output", order=DENSE),
    Row("4x4.(Dense0|Dense1).bias", why="bias"),
    *layer("FromRGB_lod#", with_gain, "from RGB", order=KERNEL),
)

PGGAN = Family(
    "pggan",
    "tkarras/progressive_growing_of_gans, networks.py and legacy.py",
    one_table(
        Row("#x#.Dense.weight", quarter_gain, "first dense", order=DENSE),
        Row(
            "#x#.Conv0_up.weight",
            Scale("gain", kernel_out_in),
            "up-convolution",
            order=UP_KERNEL,
            flip=True,
        ),
        Row("#x#.(Conv|Conv0|Conv1|Conv1_down).weight", with_gain, "kernel", order=KERNEL),
        Row("#x#.(Dense|Conv|Conv0|Conv0_up|Conv1|Conv1_down).bias", why="bias"),
        *layer("ToRGB_lod#", no_gain, "to RGB", order=KERNEL),
        *DISCRIMINATOR,
        Row("lod", why="level of detail"),
    ),
    facts={"gain": math.sqrt(2)},
    prefix=r"([A-Za-z]\w*[.])*",
    separator="/",
)

LAYERS = "(Const|Conv|Conv0|Conv0_up|Conv1|Conv1_down)"

STYLEGAN1_ROWS = (
    *mapping("Dense#", slow, order=DENSE),
    Row("LabelConcat.weight", why="label embedding"),
    Row("#x#.Dense.weight", quarter_gain, "first dense", order=DENSE, only="StyleMod.weight"),
    Row(
        "#x#.Conv0_up.weight",
        with_gain,
        "up-convolution",
        order=KERNEL,
        flip="fused_from",
        only="StyleMod.weight",
    ),
    Row("#x#.(Conv|Conv0|Conv1|Conv1_down).weight", with_gain, "kernel", order=KERNEL),
    *layer(f"#x#.({LAYERS}|Dense).StyleMod", no_gain, "style", "style bias, +1", order=DENSE),
    Row(f"#x#.({LAYERS}|Dense).Noise.weight", why="noise strength"),
    Row("#x#.Const.const", why="constant input"),
    Row(f"#x#.({LAYERS}|Dense).bias", why="bias"),
    *layer("ToRGB_lod#", no_gain, "to RGB", order=KERNEL),
    *DISCRIMINATOR,
    Row("noise#", why="noise"),
    Row("(lod|dlatent_avg)", why="buffer"),
)

STYLEGAN2_ROWS = (
    *mapping("Dense#", replace(slow, gain=1.0), order=DENSE),
    Row("LabelConcat.weight", why="label embedding"),
    Row("(#x#.)?(ToRGB|ToRGB_lod#|FromRGB|FromRGB_lod#).weight", no_gain, "RGB", order=KERNEL),
    Row(f"#x#.({LAYERS}|Skip).weight", no_gain, "kernel", order=KERNEL),
    Row(f"(#x#.)?({LAYERS}|ToRGB|ToRGB_lod#).mod_weight", no_gain, "style", order=DENSE),
    Row(f"(#x#.)?({LAYERS}|ToRGB|ToRGB_lod#).mod_bias", why="style bias, +1"),
    Row(f"#x#.{LAYERS}.noise_strength", why="noise strength"),
    Row("#x#.Const.const", why="constant input"),
    Row("(4x4.Dense0|Output).weight", no_gain, "dense", order=DENSE),
    Row(f"(#x#.)?({LAYERS}|Dense0|Output|ToRGB|ToRGB_lod#|FromRGB|FromRGB_lod#).bias", why="bias"),
    Row("noise#", why="noise"),
    Row("(lod|dlatent_avg)", why="buffer"),
)

STYLEGAN = Family(
    "stylegan",
    "NVlabs/stylegan and NVlabs/stylegan2, training/networks_stylegan*.py",
    {"1": STYLEGAN1_ROWS, "2": STYLEGAN2_ROWS},
    facts={"gain": math.sqrt(2), "lr_mul": 0.01, "fused_from": 128},
    prefix=r"([A-Za-z]\w*[.])*",
    separator="/",
    variant="version",
    detect=by_names({"1": "(StyleMod|4x4.Dense1).", "2": "(mod_weight$|Output.)"}),
)
