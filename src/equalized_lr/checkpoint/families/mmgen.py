"""OpenMMLab's mmgeneration and mmagic, which share one hook.

Its fan is torch's, so a transposed convolution (in, out, kernel) counts out * kernel; of five
axes the first is left out. The first three architectures share names, but not gains; StyleGAN3
has no hook, and NVIDIA's own layers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from torch import Tensor

from equalized_lr.checkpoint.families.nvidia import STYLEGAN3_SYNTHESIS, mapping_rows
from equalized_lr.checkpoint.family import Family, by_names
from equalized_lr.checkpoint.rows import (
    Row,
    fan_in,
    layer,
    modulated,
    slow,
    slow_bias,
    with_gain,
)

hooked = partial(Row, suffix="_orig")
hooked_layer = partial(layer, suffix="_orig")

PGGAN_ROWS = (
    hooked("noise2feat.linear.weight", replace(with_gain, times=0.25), "first dense"),
    hooked("(conv_blocks|fromrgb_layers).#.conv.weight", with_gain, "kernel"),
    hooked("torgb_layers.#.conv.weight", fan_in, "to RGB"),
    hooked("decision.linear0.weight", with_gain, "dense"),
    hooked("decision.linear1.weight", fan_in, "output"),
    Row("(conv_blocks|fromrgb_layers|torgb_layers).#.conv.bias", why="bias"),
    Row("(noise2feat|decision.linear0|decision.linear1).bias", why="bias"),
)

# The mapping's bias is outside of its linear layer, and multiplied by lr_mul all the same.
MAPPING = (
    hooked("style_mapping.#.linear.weight", slow, "mapping"),
    Row("style_mapping.#.bias", slow_bias, "mapping bias"),
    hooked("final_linear.#.linear.weight", fan_in, "dense"),
    Row("final_linear.#.bias", why="bias"),
    Row("injected_noise_#", why="noise"),
)
WRAPPERS = (
    Row("generator_ema.steps", why="buffer"),
    Row("data_preprocessor.(mean|std)", why="buffer"),
)

STYLEGAN1_ROWS = (
    *MAPPING,
    *hooked_layer("convs.#.(conv1|conv1.#|conv2|#).conv", with_gain, "kernel", ndim=(4,)),
    *hooked_layer("convs.#.adain(1|2).affine", with_gain, "style", "style bias"),
    Row("convs.#.noise_injector(1|2).weight", why="noise strength"),
    Row("convs.#.(conv1.)?#.kernel", why="blur kernel"),
    Row("convs.0.conv1.input", why="constant input"),
    *hooked_layer("(to_rgbs|from_rgb).#.conv", with_gain, "RGB", ndim=(4,)),
)

STYLED = "(conv1|convs.#|to_rgb1|to_rgbs.#).conv"
STYLEGAN2_ROWS = (
    *MAPPING,
    hooked(f"{STYLED}.weight", modulated, "modulated", ndim=(5,)),
    hooked(f"{STYLED}.style_modulation.linear.weight", fan_in, "style"),
    Row(f"{STYLED}.style_modulation.bias", why="style bias"),
    Row("(conv1|convs.#).noise_injector.weight", why="noise strength"),
    Row("(conv1|convs.#).activate.bias", why="bias"),
    Row("(to_rgb1|to_rgbs.#).bias", why="bias"),
    Row("(convs.#.conv.blur|to_rgbs.#.upsample).kernel", why="blur kernel"),
    Row("constant_input.input", why="constant input"),
    hooked(
        "(convs.0.0|convs.#.conv1.0|convs.#.conv2.1|convs.#.skip.1|final_conv.0).conv.weight",
        fan_in,
        "kernel",
        ndim=(4,),
    ),
    Row("(convs.0.1|convs.#.conv1.1|convs.#.conv2.2|final_conv.1).bias", why="bias"),
    Row("convs.#.(conv2.0|skip.0).kernel", why="blur kernel"),
)

STYLEGAN3_ROWS = (
    *mapping_rows("style_mapping"),
    *layer("style_mapping.embed", fan_in, "label embedding"),
    *STYLEGAN3_SYNTHESIS,
    *STYLEGAN2_ROWS,
)
by_gains = by_names(
    {
        "pggan": "(noise2feat|conv_blocks|torgb_layers|fromrgb_layers|decision).",
        "stylegan": "(adain#|from_rgb).",
        "stylegan2": "(style_modulation|final_conv).",
    }
)


def architecture(state: Mapping[str, Tensor], plain: bool) -> str | None:
    """StyleGAN3 by its synthesis network, whose discriminator is StyleGAN2's; others by names."""
    return "stylegan3" if any("synthesis." in key for key in state) else by_gains(state, plain)


MMGEN = Family(
    "mmgen",
    "open-mmlab/mmgeneration and open-mmlab/mmagic, pggan and stylegan1 to 3 modules",
    {
        "pggan": (*PGGAN_ROWS, *WRAPPERS),
        "stylegan": (*STYLEGAN1_ROWS, *WRAPPERS),
        "stylegan2": (*STYLEGAN2_ROWS, *WRAPPERS),
        "stylegan3": (*STYLEGAN3_ROWS, *WRAPPERS),
    },
    facts={"gain": math.sqrt(2), "lr_mul": 0.01},
    prefix="(module.)?((generator|generator_ema|discriminator).)?(module.)?",
    variant="architecture",
    detect=architecture,
)
