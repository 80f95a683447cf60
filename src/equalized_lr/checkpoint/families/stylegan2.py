"""rosinality's StyleGAN2 and those that grew out of it: BasicSR and the package stylegan2-torch."""

from __future__ import annotations

from equalized_lr.checkpoint.families.nvidia import LR_MUL
from equalized_lr.checkpoint.family import Family, one_table
from equalized_lr.checkpoint.rows import Row, fan_in, layer, mapping, modulated

FINAL = (
    Row("final_conv.0.weight", fan_in, "kernel"),
    Row("final_linear.#.weight", fan_in, "dense"),
    Row("(final_conv.1|final_linear.#).bias", why="bias"),
)


def modulated_rows(path: str, style: str = "modulation") -> tuple[Row, ...]:
    """Modulated convolutions, and the layers that make their styles."""
    weight = Row(f"{path}.weight", modulated, "modulated", ndim=(5,))
    return weight, *layer(f"{path}.{style}", fan_in, "style", "style bias")


def discriminator_rows(path: str) -> tuple[Row, ...]:
    """The discriminator, whose blocks have this name."""
    return (
        Row(f"{path}.0.0.weight", fan_in, "from RGB"),
        Row(f"{path}.0.1.bias", why="bias"),
        Row(f"{path}.#.(conv1.0|conv2.1|skip.1).weight", fan_in, "kernel", ndim=(4,)),
        Row(f"{path}.#.(conv1.1|conv2.2).bias", why="bias"),
        *FINAL,
    )


ROSINALITY_STYLEGAN2 = Family(
    "rosinality-stylegan2",
    "rosinality/stylegan2-pytorch, model.py",
    one_table(
        *mapping("style.#"),
        *modulated_rows("(conv1|convs.#|to_rgb1|to_rgbs.#).conv"),
        Row("(conv1|convs.#).noise.weight", why="noise strength"),
        Row("(conv1|convs.#).activate.bias", why="bias"),
        Row("(to_rgb1|to_rgbs.#).bias", why="bias"),
        Row("(convs.#.conv.blur|to_rgbs.#.upsample).kernel", why="blur kernel"),
        Row("input.input", why="constant input"),
        Row("noises.noise_#", why="noise"),
        *discriminator_rows("convs"),
        Row("convs.#.(conv2.0|skip.0).kernel", why="blur kernel"),
    ),
    facts=LR_MUL,
)

BASICSR = Family(
    "basicsr",
    "XPixelGroup/BasicSR, basicsr/archs/stylegan2_arch.py",
    one_table(
        *mapping("style_mlp.#"),
        *modulated_rows("(style_conv1|style_convs.#|to_rgb1|to_rgbs.#).modulated_conv"),
        Row("(style_conv1|style_convs.#).weight", why="noise strength"),
        Row("(style_conv1|style_convs.#).activate.bias", why="bias"),
        Row("(to_rgb1|to_rgbs.#).bias", why="bias"),
        Row("constant_input.weight", why="constant input"),
        Row("noises.noise#", why="noise"),
        *discriminator_rows("conv_body"),
    ),
    facts=LR_MUL,
)

STYLEGAN2_TORCH = Family(
    "stylegan2-torch",
    "ppeetteerrs/stylegan2-torch (PyPI 1.3.0), stylegan2_torch/",
    one_table(
        *mapping("mapping.#"),
        *modulated_rows("(convs|up_convs|to_rgbs).#", "affine"),
        Row("(convs|up_convs).#.add_noise.weight", why="noise strength"),
        Row("(convs|up_convs).#.leaky_relu.bias", why="bias"),
        Row("to_rgbs.#.bias", why="bias"),
        Row("(up_convs.#.blur|to_rgbs.#.upsample).kernel", why="blur kernel"),
        Row("input.input", why="constant input"),
        Row("blocks.0.0.weight", fan_in, "from RGB"),
        Row("blocks.0.1.bias", why="bias"),
        Row("blocks.#.(conv.0|down_conv.1|skip.1).weight", fan_in, "kernel"),
        Row("blocks.#.(conv.1|down_conv.2).bias", why="bias"),
        Row("blocks.#.(down_conv.0|skip.0).kernel", why="blur kernel"),
        Row("final_conv.0.weight", fan_in, "kernel"),
        Row("(final_relu|final_linear).weight", fan_in, "dense"),
        Row("(final_conv.1|final_relu|final_linear).bias", why="bias"),
    ),
    facts=LR_MUL,
)
