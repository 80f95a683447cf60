"""ALAE, whose files do not say whether their weights are stored or effective ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from statistics import median

import torch
from torch import Tensor

from equalized_lr.checkpoint.engine import first_row
from equalized_lr.checkpoint.family import Family
from equalized_lr.checkpoint.rows import (
    Facts,
    Row,
    Scale,
    fan_in,
    in_is_larger,
    mapping,
    out_in,
    slow_with_gain,
    with_gain,
)

EXPLICIT = (
    Row("decode_block.#.conv_1.weight", Scale("gain", in_is_larger), "up-convolution"),
    Row("decode_block.#.conv_2.weight", with_gain, "kernel"),
    Row("decode_block.#.style_(1|2).weight", fan_in, "style"),
    Row("encode_block.#.conv_(1|2).weight", with_gain, "kernel"),
    Row("encode_block.#.(dense|style_1|style_2).weight", with_gain, "dense"),
    Row("(encode_block|decode_block).#.(dense|style_1|style_2).bias", why="bias"),
    Row("(encode_block|decode_block).#.(bias_1|bias_2)", why="bias"),
    Row("decode_block.#.(noise_weight_1|noise_weight_2)", why="noise strength"),
    Row("(encode_block|decode_block).#.blur.weight", why="blur kernel"),
    Row("from_rgb.#.from_rgb.weight", with_gain, "from RGB"),
    Row("to_rgb.#.to_rgb.weight", Scale("rgb_gain", out_in), "to RGB"),
    Row("(from_rgb.#.from_rgb|to_rgb.#.to_rgb|fc2).bias", why="bias"),
    Row("fc2.weight", fan_in, "output"),
    *mapping("block_#.fc", slow_with_gain),
    *mapping("map_blocks.#(.fc)?", Scale("gain", out_in, "map_lr_mul"), Scale(lr_mul="map_lr_mul")),
    Row("const", why="constant input"),
    Row("(dlatent_avg.)?buff", why="buffer"),
)
IMPLICIT = tuple(
    replace(row, scale=None, why="effective") if row.scale else row for row in EXPLICIT
)
FACTS: Facts = {"gain": math.sqrt(2), "rgb_gain": 0.03, "lr_mul": 0.01, "map_lr_mul": 0.1}
PREFIX = "(module.)?"

# Note [Two forms]
# Both forms begin as normal draws: explicit weights with the deviation 1 / lr_mul, implicit ones
# with c / lr_mul. Training moves the deviation by a factor that is small beside 1 / c. So the
# number log(deviation * lr_mul) / log(c) is near 0 or near 1; what is in between is not guessed.
FEWEST = 64
UNSURE = (0.3, 0.7)


def form(state: Mapping[str, Tensor], plain: bool) -> str | None:
    """'explicit' or 'implicit' from the statistics of the weights, None if they are unclear."""
    places = [] if plain else [p for p in map(_position, state.items()) if p is not None]
    if not places:
        return None
    middle = median(places)
    if UNSURE[0] <= middle <= UNSURE[1] or not -0.5 < middle < 1.5:
        return None
    return "explicit" if middle < UNSURE[0] else "implicit"


def _position(item: tuple[str, Tensor]) -> float | None:
    """Where between the two forms one weight lies, if it has anything to say."""
    key, tensor = item
    row = first_row(EXPLICIT, PREFIX, key)
    if row is None or row.scale is None or tensor.dim() < 2 or tensor.numel() < FEWEST:
        return None
    if tensor.is_meta or not tensor.is_floating_point() or tensor.layout is not torch.strided:
        return None
    scale = row.scale.value(tensor.shape, FACTS)
    lr_mul = FACTS[row.scale.lr_mul] if isinstance(row.scale.lr_mul, str) else 1.0
    assert isinstance(lr_mul, int | float)
    deviation = float(tensor.detach().double().std())
    if not (math.isfinite(deviation) and deviation > 0 and scale < 0.5):
        return None
    return math.log(deviation * lr_mul) / math.log(scale)


ALAE = Family(
    "alae",
    "podgorskiy/ALAE, lreq.py and net.py",
    {"explicit": EXPLICIT, "implicit": IMPLICIT},
    facts=FACTS,
    prefix=PREFIX,
    variant="form",
    detect=form,
)
