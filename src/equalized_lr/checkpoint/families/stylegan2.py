"""rosinality's StyleGAN2 and those that grew out of it: BasicSR and the package stylegan2-torch."""

from __future__ import annotations

from equalized_lr.checkpoint.family import Family
from equalized_lr.checkpoint.rows import Row, Scale, one_out_in, out_in

fan_in = Scale(1.0, out_in)
modulated = Scale(1.0, one_out_in)
slow = Scale(1.0, out_in, "lr_mul")
slow_bias = Scale(lr_mul="lr_mul")
LR_MUL = {"lr_mul": 0.01}

ROSINALITY_STYLEGAN2 = Family(
    "rosinality-stylegan2",
    "rosinality/stylegan2-pytorch, model.py",
    {
        "": (
            Row("style.#.weight", slow, "mapping"),
            Row("style.#.bias", slow_bias, "mapping bias"),
            Row("(conv1|convs.#|to_rgb1|to_rgbs.#).conv.weight", modulated, "modulated", ndim=(5,)),
            Row("(conv1|convs.#|to_rgb1|to_rgbs.#).conv.modulation.weight", fan_in, "style"),
            Row("(conv1|convs.#|to_rgb1|to_rgbs.#).conv.modulation.bias", why="style bias"),
            Row("(conv1|convs.#).noise.weight", why="noise strength"),
            Row("(conv1|convs.#).activate.bias", why="bias"),
            Row("(to_rgb1|to_rgbs.#).bias", why="bias"),
            Row("(convs.#.conv.blur|to_rgbs.#.upsample).kernel", why="blur kernel"),
            Row("input.input", why="constant input"),
            Row("noises.noise_#", why="noise"),
            Row("convs.0.0.weight", fan_in, "from RGB"),
            Row("convs.0.1.bias", why="bias"),
            Row("convs.#.(conv1.0|conv2.1|skip.1).weight", fan_in, "kernel", ndim=(4,)),
            Row("convs.#.(conv1.1|conv2.2).bias", why="bias"),
            Row("convs.#.(conv2.0|skip.0).kernel", why="blur kernel"),
            Row("final_conv.0.weight", fan_in, "kernel"),
            Row("final_linear.#.weight", fan_in, "dense"),
            Row("(final_conv.1|final_linear.#).bias", why="bias"),
        )
    },
    facts=LR_MUL,
)

BASICSR = Family(
    "basicsr",
    "XPixelGroup/BasicSR, basicsr/archs/stylegan2_arch.py",
    {
        "": (
            Row("style_mlp.#.weight", slow, "mapping"),
            Row("style_mlp.#.bias", slow_bias, "mapping bias"),
            Row(
                "(style_conv1|style_convs.#|to_rgb1|to_rgbs.#).modulated_conv.weight",
                modulated,
                "modulated",
                ndim=(5,),
            ),
            Row(
                "(style_conv1|style_convs.#|to_rgb1|to_rgbs.#).modulated_conv.modulation.weight",
                fan_in,
                "style",
            ),
            Row(
                "(style_conv1|style_convs.#|to_rgb1|to_rgbs.#).modulated_conv.modulation.bias",
                why="style bias",
            ),
            Row("(style_conv1|style_convs.#).weight", why="noise strength"),
            Row("(style_conv1|style_convs.#).activate.bias", why="bias"),
            Row("(to_rgb1|to_rgbs.#).bias", why="bias"),
            Row("constant_input.weight", why="constant input"),
            Row("noises.noise#", why="noise"),
            Row("conv_body.0.0.weight", fan_in, "from RGB"),
            Row("conv_body.0.1.bias", why="bias"),
            Row("conv_body.#.(conv1.0|conv2.1|skip.1).weight", fan_in, "kernel", ndim=(4,)),
            Row("conv_body.#.(conv1.1|conv2.2).bias", why="bias"),
            Row("final_conv.0.weight", fan_in, "kernel"),
            Row("final_linear.#.weight", fan_in, "dense"),
            Row("(final_conv.1|final_linear.#).bias", why="bias"),
        )
    },
    facts=LR_MUL,
)

STYLEGAN2_TORCH = Family(
    "stylegan2-torch",
    "ppeetteerrs/stylegan2-torch (PyPI 1.3.0), stylegan2_torch/",
    {
        "": (
            Row("mapping.#.weight", slow, "mapping"),
            Row("mapping.#.bias", slow_bias, "mapping bias"),
            Row("(convs|up_convs|to_rgbs).#.weight", modulated, "modulated", ndim=(5,)),
            Row("(convs|up_convs|to_rgbs).#.affine.weight", fan_in, "style"),
            Row("(convs|up_convs|to_rgbs).#.affine.bias", why="style bias"),
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
        )
    },
    facts=LR_MUL,
)
