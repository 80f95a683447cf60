"""MAT, which fills holes in images: all of its layers are equalized, demodulated ones too."""

from __future__ import annotations

from equalized_lr.checkpoint.families.nvidia import LABELS, LR_MUL, mapping_rows
from equalized_lr.checkpoint.family import Family, one_table
from equalized_lr.checkpoint.rows import Row, fan_in, layer, modulated

FIRST = "synthesis.first_stage"
CONVOLUTION = (
    f"({FIRST}.(conv_first|enc_conv.#|tran.#.conv|tran.#.(downsample|upsample).conv).conv"
    f"|{FIRST}.down_conv.#|synthesis.enc.EncConv_Block_#x#.(conv0|conv1)"
    "|synthesis.to_style.conv.#|synthesis.dec.Dec_16x16.conv0"
    "|(Dis|Dis_stg1).#(.(conv|conv0|conv1|skip))?)"
)
DENSE = (
    f"({FIRST}.tran.#.blocks.#.(attn.(q|k|v|proj)|fuse|mlp.(fc1|fc2))"
    f"|{FIRST}.(to_style|ws_style|to_square)|synthesis.(to_square|to_style.fc)"
    "|fc0|fc1|fc0_stg1|fc1_stg1)"
)
STYLED = f"({FIRST}.dec_conv.#|synthesis.dec.Dec_#x#).(conv0|conv1|toRGB)"

MAT = Family(
    "mat",
    "fenglinglwb/MAT, networks/mat.py and basic_module.py",
    one_table(
        *mapping_rows(),
        *LABELS,
        *layer(CONVOLUTION, fan_in, "kernel", ndim=(4,)),
        Row(f"{CONVOLUTION}.resample_filter", why="blur kernel"),
        *layer(DENSE, fan_in, "dense", ndim=(2,)),
        Row(f"{FIRST}.tran.#.blocks.#.attn_mask", why="buffer"),
        Row(f"{STYLED}.conv.weight", modulated, "modulated", ndim=(5,)),
        *layer(f"{STYLED}.conv.affine", fan_in, "style", "style bias"),
        Row(f"{STYLED}.bias", why="bias"),
        Row(f"{STYLED}.(noise_const|noise_strength)", why="noise"),
        Row(f"{STYLED}(.conv)?.resample_filter", why="blur kernel"),
    ),
    facts=LR_MUL,
    sign="(first_stage|EncConv_Block_#x#|Dec_#x#|Dis|Dis_stg1).",
)
