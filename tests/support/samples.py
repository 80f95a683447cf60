"""Small networks of every family: each stored key with its shape and its constant, by hand.

Sizes differ wherever they can, so that a wrong axis gives a wrong number. Constants are written
from the formulas of the sources; None stands for what is left alone.
"""

from collections import OrderedDict

import torch

from tests.support import newer_samples as newer
from tests.support.newer_samples import he

SQRT2 = 2**0.5


PGGAN = {
    "lod": ((), None),
    "4x4/Dense/weight": ((6, 80), he(SQRT2 / 4, 6)),
    "4x4/Dense/bias": ((5,), None),
    "4x4/Conv/weight": ((3, 3, 5, 4), he(SQRT2, 45)),
    "4x4/Conv/bias": ((4,), None),
    "8x8/Conv0_up/weight": ((3, 3, 7, 4), he(SQRT2, 36)),
    "8x8/Conv0_up/bias": ((7,), None),
    "8x8/Conv1/weight": ((3, 3, 7, 6), he(SQRT2, 63)),
    "8x8/Conv1/bias": ((6,), None),
    "16x16/Conv0/weight": ((3, 3, 6, 5), he(SQRT2, 54)),
    "16x16/Conv0/bias": ((5,), None),
    "ToRGB_lod0/weight": ((1, 1, 6, 3), he(1, 6)),
    "ToRGB_lod0/bias": ((3,), None),
    "FromRGB_lod0/weight": ((1, 1, 3, 5), he(SQRT2, 3)),
    "FromRGB_lod0/bias": ((5,), None),
    "8x8/Conv1_down/weight": ((3, 3, 5, 4), he(SQRT2, 45)),
    "8x8/Conv1_down/bias": ((4,), None),
    "4x4/Dense0/weight": ((64, 5), he(SQRT2, 64)),
    "4x4/Dense0/bias": ((5,), None),
    "4x4/Dense1/weight": ((5, 1), he(1, 5)),
    "4x4/Dense1/bias": ((1,), None),
}

STYLEGAN1 = {
    "lod": ((), None),
    "dlatent_avg": ((5,), None),
    "G_mapping/Dense0/weight": ((6, 5), he(SQRT2, 6, 0.01)),
    "G_mapping/Dense0/bias": ((5,), 0.01),
    "G_mapping/LabelConcat/weight": ((2, 6), None),
    "G_synthesis/noise0": ((1, 1, 4, 4), None),
    "G_synthesis/4x4/Const/const": ((1, 4, 4, 4), None),
    "G_synthesis/4x4/Const/Noise/weight": ((4,), None),
    "G_synthesis/4x4/Const/bias": ((4,), None),
    "G_synthesis/4x4/Const/StyleMod/weight": ((5, 8), he(1, 5)),
    "G_synthesis/4x4/Const/StyleMod/bias": ((8,), None),
    "G_synthesis/4x4/Conv/weight": ((3, 3, 4, 6), he(SQRT2, 36)),
    "G_synthesis/64x64/Conv0_up/weight": ((3, 3, 6, 5), he(SQRT2, 54)),
    "G_synthesis/64x64/Conv0_up/StyleMod/weight": ((5, 10), he(1, 5)),
    "G_synthesis/128x128/Conv0_up/weight": ((3, 3, 5, 4), he(SQRT2, 45)),
    "G_synthesis/128x128/Conv0_up/StyleMod/weight": ((5, 8), he(1, 5)),
    "G_synthesis/128x128/Conv1/weight": ((3, 3, 4, 2), he(SQRT2, 36)),
    "G_synthesis/ToRGB_lod0/weight": ((1, 1, 4, 3), he(1, 4)),
    "G_synthesis/ToRGB_lod0/bias": ((3,), None),
}
STYLEGAN1_D = {
    "FromRGB_lod0/weight": ((1, 1, 3, 4), he(SQRT2, 3)),
    "8x8/Conv0/weight": ((3, 3, 4, 5), he(SQRT2, 36)),
    "8x8/Conv1_down/weight": ((3, 3, 5, 6), he(SQRT2, 45)),
    "4x4/Dense0/weight": ((96, 5), he(SQRT2, 96)),
    "4x4/Dense1/weight": ((5, 1), he(1, 5)),
    "4x4/Dense1/bias": ((1,), None),
}

STYLEGAN2 = {
    "dlatent_avg": ((5,), None),
    "G_mapping/Dense0/weight": ((6, 5), he(1, 6, 0.01)),
    "G_mapping/Dense0/bias": ((5,), 0.01),
    "G_synthesis/noise0": ((1, 1, 4, 4), None),
    "G_synthesis/4x4/Const/const": ((1, 4, 4, 4), None),
    "G_synthesis/4x4/Conv/weight": ((3, 3, 4, 6), he(1, 36)),
    "G_synthesis/4x4/Conv/mod_weight": ((5, 4), he(1, 5)),
    "G_synthesis/4x4/Conv/mod_bias": ((4,), None),
    "G_synthesis/4x4/Conv/noise_strength": ((), None),
    "G_synthesis/4x4/Conv/bias": ((6,), None),
    "G_synthesis/4x4/ToRGB/weight": ((1, 1, 6, 3), he(1, 6)),
    "G_synthesis/4x4/ToRGB/mod_weight": ((5, 6), he(1, 5)),
    "G_synthesis/4x4/ToRGB/mod_bias": ((6,), None),
    "G_synthesis/4x4/ToRGB/bias": ((3,), None),
    "G_synthesis/128x128/Conv0_up/weight": ((3, 3, 6, 2), he(1, 54)),
    "G_synthesis/128x128/Skip/weight": ((1, 1, 6, 2), he(1, 6)),
    "ToRGB_lod0/mod_weight": ((5, 2), he(1, 5)),
}
STYLEGAN2_D = {
    "8x8/FromRGB/weight": ((1, 1, 3, 4), he(1, 3)),
    "8x8/FromRGB/bias": ((4,), None),
    "8x8/Conv0/weight": ((3, 3, 4, 5), he(1, 36)),
    "8x8/Conv1_down/weight": ((3, 3, 5, 6), he(1, 45)),
    "8x8/Skip/weight": ((1, 1, 4, 6), he(1, 4)),
    "4x4/Conv/weight": ((3, 3, 7, 6), he(1, 63)),
    "4x4/Dense0/weight": ((96, 5), he(1, 96)),
    "4x4/Dense0/bias": ((5,), None),
    "Output/weight": ((5, 1), he(1, 5)),
    "Output/bias": ((1,), None),
}

ADA = {
    "mapping.w_avg": ((5,), None),
    "mapping.embed.weight": ((4, 2), he(1, 2)),
    "mapping.embed.bias": ((4,), None),
    "mapping.fc0.weight": ((5, 6), he(1, 6, 0.01)),
    "mapping.fc0.bias": ((5,), 0.01),
    "synthesis.b4.const": ((4, 4, 4), None),
    "synthesis.b4.resample_filter": ((4, 4), None),
    "synthesis.b4.conv1.weight": ((6, 4, 3, 3), None),
    "synthesis.b4.conv1.bias": ((6,), None),
    "synthesis.b4.conv1.noise_strength": ((), None),
    "synthesis.b4.conv1.noise_const": ((4, 4), None),
    "synthesis.b4.conv1.resample_filter": ((4, 4), None),
    "synthesis.b4.conv1.affine.weight": ((4, 5), he(1, 5)),
    "synthesis.b4.conv1.affine.bias": ((4,), None),
    "synthesis.b4.torgb.weight": ((3, 6, 1, 1), he(1, 6)),
    "synthesis.b4.torgb.bias": ((3,), None),
    "synthesis.b4.torgb.affine.weight": ((6, 5), he(1, 5)),
    "synthesis.b4.torgb.affine.bias": ((6,), None),
    "synthesis.b8.conv0.weight": ((4, 6, 3, 3), None),
    "synthesis.b8.skip.weight": ((4, 6, 1, 1), he(1, 6)),
    "synthesis.b8.skip.resample_filter": ((4, 4), None),
}
ADA_D = {
    "b8.fromrgb.weight": ((4, 3, 1, 1), he(1, 3)),
    "b8.fromrgb.bias": ((4,), None),
    "b8.fromrgb.resample_filter": ((4, 4), None),
    "b8.resample_filter": ((4, 4), None),
    "b8.conv0.weight": ((4, 5, 3, 3), he(1, 45)),
    "b8.conv1.weight": ((6, 4, 3, 3), he(1, 36)),
    "b8.skip.weight": ((6, 4, 1, 1), he(1, 4)),
    "b4.conv.weight": ((6, 7, 3, 3), he(1, 63)),
    "b4.conv.bias": ((6,), None),
    "b4.fc.weight": ((6, 96), he(1, 96)),
    "b4.fc.bias": ((6,), None),
    "b4.out.weight": ((1, 6), he(1, 6)),
    "mapping.fc1.weight": ((5, 4), he(1, 4, 0.01)),
}
SG3 = {
    "mapping.w_avg": ((5,), None),
    "mapping.fc0.weight": ((5, 6), he(1, 6, 0.01)),
    "mapping.fc0.bias": ((5,), 0.01),
    "synthesis.input.weight": ((4, 4), he(1, 4)),
    "synthesis.input.freqs": ((4, 2), None),
    "synthesis.input.phases": ((4,), None),
    "synthesis.input.transform": ((3, 3), None),
    "synthesis.input.affine.weight": ((4, 5), he(1, 5)),
    "synthesis.input.affine.bias": ((4,), None),
    "synthesis.L2_36_6.weight": ((6, 4, 1, 1), None),
    "synthesis.L2_36_6.bias": ((6,), None),
    "synthesis.L2_36_6.affine.weight": ((4, 5), he(1, 5)),
    "synthesis.L2_36_6.affine.bias": ((4,), None),
    "synthesis.L2_36_6.up_filter": ((12,), None),
    "synthesis.L2_36_6.down_filter": ((12,), None),
    "synthesis.L2_36_6.magnitude_ema": ((), None),
    "synthesis.L10_36_3.weight": ((3, 6, 1, 1), he(1, 6)),
    "synthesis.L10_36_3.bias": ((3,), None),
    "synthesis.L10_36_3.affine.weight": ((6, 5), he(1, 5)),
    "synthesis.L10_36_3.affine.bias": ((6,), None),
    "synthesis.L10_36_3.magnitude_ema": ((), None),
}

ROSINALITY_PROGRESSIVE = {
    "label_embed.weight": ((2, 2), None),
    "progression.0.conv.0.conv.weight_orig": ((5, 6, 4, 4), he(SQRT2, 96)),
    "progression.0.conv.0.conv.bias": ((5,), None),
    "to_rgb.0.weight": ((3, 5, 1, 1), None),
    "to_rgb.0.bias": ((3,), None),
    "from_rgb.0.weight": ((5, 3, 1, 1), None),
    "linear.weight": ((1, 5), None),
    "linear.bias": ((1,), None),
}
ROSINALITY_STYLEGAN = {
    "generator.progression.0.conv1.input": ((1, 4, 4, 4), None),
    "generator.progression.0.noise1.weight_orig": ((1, 4, 1, 1), he(SQRT2, 4)),
    "generator.progression.0.adain1.style.linear.weight_orig": ((8, 5), he(SQRT2, 5)),
    "generator.progression.0.adain1.style.linear.bias": ((8,), None),
    "generator.progression.0.conv2.conv.weight_orig": ((6, 4, 3, 3), he(SQRT2, 36)),
    "generator.progression.0.conv2.conv.bias": ((6,), None),
    "generator.progression.1.conv1.1.conv.weight_orig": ((5, 6, 3, 3), he(SQRT2, 54)),
    "generator.progression.1.conv1.2.weight": ((5, 1, 3, 3), None),
    "generator.progression.1.conv1.2.weight_flip": ((5, 1, 3, 3), None),
    "generator.progression.5.conv1.0.weight": ((5, 4, 3, 3), he(SQRT2, 45)),
    "generator.progression.5.conv1.0.bias": ((4,), None),
    "generator.progression.5.conv1.1.weight": ((4, 1, 3, 3), None),
    "generator.to_rgb.0.conv.weight_orig": ((3, 6, 1, 1), he(SQRT2, 6)),
    "generator.to_rgb.0.conv.bias": ((3,), None),
    "style.1.linear.weight_orig": ((5, 6), he(SQRT2, 6)),
    "style.1.linear.bias": ((5,), None),
}
ROSINALITY_STYLEGAN_D = {
    "progression.0.conv1.0.conv.weight_orig": ((5, 4, 3, 3), he(SQRT2, 36)),
    "progression.0.conv2.0.weight": ((5, 1, 3, 3), None),
    "progression.0.conv2.0.weight_flip": ((5, 1, 3, 3), None),
    "progression.0.conv2.1.weight": ((4, 5, 3, 3), he(SQRT2, 45)),
    "progression.0.conv2.1.bias": ((4,), None),
    "progression.8.conv2.0.conv.weight_orig": ((5, 4, 4, 4), he(SQRT2, 64)),
    "from_rgb.0.0.conv.weight_orig": ((4, 3, 1, 1), he(SQRT2, 3)),
    "linear.linear.weight_orig": ((1, 5), he(SQRT2, 5)),
    "linear.linear.bias": ((1,), None),
}
ROSINALITY_STYLEGAN2 = {
    "style.1.weight": ((5, 6), he(1, 6, 0.01)),
    "style.1.bias": ((5,), 0.01),
    "input.input": ((1, 4, 4, 4), None),
    "conv1.conv.weight": ((1, 6, 4, 3, 3), he(1, 36)),
    "conv1.conv.modulation.weight": ((4, 5), he(1, 5)),
    "conv1.conv.modulation.bias": ((4,), None),
    "conv1.noise.weight": ((1,), None),
    "conv1.activate.bias": ((6,), None),
    "to_rgb1.conv.weight": ((1, 3, 6, 1, 1), he(1, 6)),
    "to_rgb1.conv.modulation.weight": ((6, 5), he(1, 5)),
    "to_rgb1.bias": ((1, 3, 1, 1), None),
    "convs.0.conv.weight": ((1, 4, 6, 3, 3), he(1, 54)),
    "convs.0.conv.blur.kernel": ((4, 4), None),
    "convs.0.noise.weight": ((1,), None),
    "to_rgbs.0.bias": ((1, 3, 1, 1), None),
    "to_rgbs.0.upsample.kernel": ((4, 4), None),
    "noises.noise_0": ((1, 1, 4, 4), None),
}
ROSINALITY_STYLEGAN2_D = {
    "convs.0.0.weight": ((4, 3, 1, 1), he(1, 3)),
    "convs.0.1.bias": ((4,), None),
    "convs.1.conv1.0.weight": ((4, 5, 3, 3), he(1, 45)),
    "convs.1.conv1.1.bias": ((4,), None),
    "convs.1.conv2.0.kernel": ((4, 4), None),
    "convs.1.conv2.1.weight": ((6, 4, 3, 3), he(1, 36)),
    "convs.1.conv2.2.bias": ((6,), None),
    "convs.1.skip.0.kernel": ((4, 4), None),
    "convs.1.skip.1.weight": ((6, 4, 1, 1), he(1, 4)),
    "final_conv.0.weight": ((6, 7, 3, 3), he(1, 63)),
    "final_conv.1.bias": ((6,), None),
    "final_linear.0.weight": ((5, 96), he(1, 96)),
    "final_linear.0.bias": ((5,), None),
}
BASICSR = {
    "style_mlp.1.weight": ((5, 6), he(1, 6, 0.01)),
    "style_mlp.1.bias": ((5,), 0.01),
    "constant_input.weight": ((1, 4, 4, 4), None),
    "style_conv1.weight": ((1,), None),
    "style_conv1.modulated_conv.weight": ((1, 6, 4, 3, 3), he(1, 36)),
    "style_conv1.modulated_conv.modulation.weight": ((4, 5), he(1, 5)),
    "style_conv1.modulated_conv.modulation.bias": ((4,), None),
    "style_conv1.activate.bias": ((6,), None),
    "to_rgbs.0.modulated_conv.weight": ((1, 3, 6, 1, 1), he(1, 6)),
    "to_rgbs.0.bias": ((1, 3, 1, 1), None),
    "style_convs.0.weight": ((1,), None),
    "noises.noise0": ((1, 1, 4, 4), None),
    "conv_body.0.0.weight": ((4, 3, 1, 1), he(1, 3)),
    "conv_body.0.1.bias": ((4,), None),
    "conv_body.1.conv1.0.weight": ((4, 5, 3, 3), he(1, 45)),
    "conv_body.1.conv2.1.weight": ((6, 4, 3, 3), he(1, 36)),
    "conv_body.1.conv2.2.bias": ((6,), None),
    "conv_body.1.skip.1.weight": ((6, 4, 1, 1), he(1, 4)),
    "final_conv.0.weight": ((6, 7, 3, 3), he(1, 63)),
    "final_linear.1.weight": ((1, 5), he(1, 5)),
}
STYLEGAN2_TORCH = {
    "mapping.1.weight": ((5, 6), he(1, 6, 0.01)),
    "mapping.1.bias": ((5,), 0.01),
    "input.input": ((1, 4, 4, 4), None),
    "convs.0.weight": ((1, 6, 4, 3, 3), he(1, 36)),
    "convs.0.affine.weight": ((4, 5), he(1, 5)),
    "convs.0.affine.bias": ((4,), None),
    "convs.0.add_noise.weight": ((1,), None),
    "convs.0.leaky_relu.bias": ((6,), None),
    "up_convs.0.weight": ((1, 4, 6, 3, 3), he(1, 54)),
    "up_convs.0.blur.kernel": ((4, 4), None),
    "to_rgbs.0.weight": ((1, 1, 6, 1, 1), he(1, 6)),
    "to_rgbs.0.bias": ((1, 1, 1, 1), None),
    "to_rgbs.1.upsample.kernel": ((4, 4), None),
    "blocks.0.0.weight": ((4, 1, 1, 1), he(1, 1)),
    "blocks.0.1.bias": ((4,), None),
    "blocks.1.conv.0.weight": ((4, 5, 3, 3), he(1, 45)),
    "blocks.1.down_conv.1.weight": ((6, 4, 3, 3), he(1, 36)),
    "blocks.1.down_conv.0.kernel": ((4, 4), None),
    "blocks.1.skip.1.weight": ((6, 4, 1, 1), he(1, 4)),
    "final_conv.0.weight": ((6, 7, 3, 3), he(1, 63)),
    "final_relu.weight": ((5, 96), he(1, 96)),
    "final_relu.bias": ((5,), None),
    "final_linear.weight": ((1, 5), he(1, 5)),
}

MMGEN_PGGAN = {
    "generator.noise2feat.linear.weight_orig": ((80, 6), he(SQRT2 / 4, 6)),
    "generator.noise2feat.bias": ((1, 5, 1, 1), None),
    "generator.conv_blocks.0.conv.weight_orig": ((6, 5, 3, 3), he(SQRT2, 45)),
    "generator.conv_blocks.0.conv.bias": ((6,), None),
    "generator.conv_blocks.1.conv.weight_orig": ((6, 4, 3, 3), he(SQRT2, 36)),
    "generator.torgb_layers.0.conv.weight_orig": ((3, 4, 1, 1), he(1, 4)),
    "generator.torgb_layers.0.conv.bias": ((3,), None),
    "discriminator.fromrgb_layers.0.conv.weight_orig": ((4, 3, 1, 1), he(SQRT2, 3)),
    "discriminator.decision.linear0.weight_orig": ((5, 80), he(SQRT2, 80)),
    "discriminator.decision.linear0.bias": ((5,), None),
    "discriminator.decision.linear1.weight_orig": ((1, 5), he(1, 5)),
}
MMGEN_STYLEGAN1 = {
    "style_mapping.1.linear.weight_orig": ((5, 6), he(1, 6, 0.01)),
    "style_mapping.1.bias": ((5,), 0.01),
    "convs.0.conv1.input": ((1, 4, 4, 4), None),
    "convs.0.noise_injector1.weight": ((1,), None),
    "convs.0.adain1.affine.weight_orig": ((8, 5), he(SQRT2, 5)),
    "convs.0.adain1.affine.bias": ((8,), None),
    "convs.1.conv1.0.conv.weight_orig": ((5, 4, 3, 3), he(SQRT2, 36)),
    "convs.1.conv1.0.conv.bias": ((5,), None),
    "convs.1.conv1.1.kernel": ((3, 3), None),
    "convs.1.conv2.conv.weight_orig": ((5, 6, 3, 3), he(SQRT2, 54)),
    "to_rgbs.0.conv.weight_orig": ((3, 4, 1, 1), he(SQRT2, 4)),
    "injected_noise_0": ((1, 1, 4, 4), None),
}
MMGEN_STYLEGAN1_D = {
    "from_rgb.0.conv.weight_orig": ((4, 3, 3, 3), he(SQRT2, 27)),
    "convs.0.0.conv.weight_orig": ((5, 4, 3, 3), he(SQRT2, 36)),
    "convs.0.1.kernel": ((3, 3), None),
    "convs.0.2.conv.weight_orig": ((4, 5, 3, 3), he(SQRT2, 45)),
    "convs.0.2.conv.bias": ((4,), None),
    "final_linear.0.linear.weight_orig": ((1, 5), he(1, 5)),
    "final_linear.0.bias": ((1,), None),
}
MMGEN_STYLEGAN2 = {
    "generator_ema.steps": ((), None),
    "generator.style_mapping.1.linear.weight_orig": ((5, 6), he(1, 6, 0.01)),
    "generator.style_mapping.1.bias": ((5,), 0.01),
    "generator.constant_input.input": ((1, 4, 4, 4), None),
    "generator.conv1.conv.weight_orig": ((1, 6, 4, 3, 3), he(1, 36)),
    "generator.conv1.conv.style_modulation.linear.weight_orig": ((4, 5), he(1, 5)),
    "generator.conv1.conv.style_modulation.bias": ((4,), None),
    "generator.conv1.noise_injector.weight": ((1,), None),
    "generator.conv1.activate.bias": ((6,), None),
    "generator.to_rgbs.0.conv.weight_orig": ((1, 3, 6, 1, 1), he(1, 6)),
    "generator.to_rgbs.0.bias": ((1, 3, 1, 1), None),
    "generator.to_rgbs.0.upsample.kernel": ((4, 4), None),
    "generator.convs.0.conv.blur.kernel": ((4, 4), None),
    "discriminator.convs.0.0.conv.weight_orig": ((4, 3, 1, 1), he(1, 3)),
    "discriminator.convs.0.1.bias": ((4,), None),
    "discriminator.convs.1.conv1.0.conv.weight_orig": ((4, 5, 3, 3), he(1, 45)),
    "discriminator.convs.1.conv2.0.kernel": ((4, 4), None),
    "discriminator.convs.1.conv2.1.conv.weight_orig": ((6, 4, 3, 3), he(1, 36)),
    "discriminator.convs.1.skip.1.conv.weight_orig": ((6, 4, 1, 1), he(1, 4)),
    "discriminator.final_conv.0.conv.weight_orig": ((6, 7, 3, 3), he(1, 63)),
    "discriminator.final_conv.1.bias": ((6,), None),
    "discriminator.final_linear.0.linear.weight_orig": ((5, 96), he(1, 96)),
    "discriminator.final_linear.0.bias": ((5,), None),
}

PRO_GAN_PTH = {
    "layers.0.conv_1.weight": ((6, 5, 4, 4), he(SQRT2, 6)),
    "layers.0.conv_1.bias": ((5,), None),
    "layers.0.conv_2.weight": ((4, 5, 3, 3), he(SQRT2, 45)),
    "layers.1.conv_1.weight": ((5, 4, 3, 3), he(SQRT2, 36)),
    "rgb_converters.0.weight": ((3, 4, 1, 1), he(SQRT2, 4)),
    "rgb_converters.0.bias": ((3,), None),
}
PRO_GAN_PTH_D = {
    "layers.0.conv_1.weight": ((4, 5, 3, 3), he(SQRT2, 45)),
    "layers.1.conv_2.weight": ((5, 4, 4, 4), he(SQRT2, 64)),
    "layers.1.conv_3.weight": ((1, 5, 1, 1), he(SQRT2, 5)),
    "layers.1.label_embedder.weight": ((3, 5), None),
    "from_rgb.0.0.weight": ((4, 3, 1, 1), he(SQRT2, 3)),
    "from_rgb.0.0.bias": ((4,), None),
}
GAN_ZOO = {
    "formatLayer.module.weight": ((64, 6), he(SQRT2, 6)),
    "formatLayer.module.bias": ((64,), he(SQRT2, 6)),
    "groupScale0.0.module.weight": ((5, 4, 3, 3), he(SQRT2, 36)),
    "groupScale0.0.module.bias": ((5,), he(SQRT2, 36)),
    "scaleLayers.0.1.module.weight": ((4, 5, 3, 3), he(SQRT2, 45)),
    "scaleLayers.0.1.module.bias": ((4,), he(SQRT2, 45)),
    "toRGBLayers.0.module.weight": ((3, 5, 1, 1), he(SQRT2, 5)),
    "toRGBLayers.0.module.bias": ((3,), he(SQRT2, 5)),
    "groupScaleZero.1.module.weight": ((5, 80), he(SQRT2, 80)),
    "decisionLayer.module.weight": ((1, 5), he(SQRT2, 5)),
    "fromRGBLayers.0.module.weight": ((4, 3, 1, 1), he(SQRT2, 3)),
}
GAN_ZOO_STYLEGAN = {
    "mapping.FC.0.module.weight": ((5, 6), he(SQRT2, 6, 0.01)),
    "mapping.FC.0.module.bias": ((5,), he(SQRT2, 6, 0.01)),
    "baseScale0": ((1, 5, 4, 4), None),
    "mean_w": ((1, 5), None),
    "adain00.styleModulator.module.weight": ((8, 5), he(SQRT2, 5)),
    "adain00.styleModulator.module.bias": ((8,), he(SQRT2, 5)),
    "noiseMod00.module.weight": ((1, 1, 1, 1), None),
    "noiseModulators.0.1.module.weight": ((1, 1, 1, 1), None),
    "scaleLayers.0.1.styleModulator.module.weight": ((8, 5), he(SQRT2, 5)),
    "conv0.module.weight": ((5, 4, 3, 3), he(SQRT2, 36)),
}

GENFORCE_PGGAN = {
    "lod": ((), None),
    "layer0.weight": ((5, 6, 4, 4), he(SQRT2, 96)),
    "layer0.bias": ((5,), None),
    "layer2.weight": ((6, 4, 3, 3), he(SQRT2, 54)),
    "output0.weight": ((3, 5, 1, 1), he(1, 5)),
    "output0.bias": ((3,), None),
}
GENFORCE_D = {
    "lod": ((), None),
    "input0.weight": ((4, 3, 1, 1), he(SQRT2, 3)),
    "layer0.weight": ((6, 4, 3, 3), he(SQRT2, 36)),
    "layer9.weight": ((5, 96), he(SQRT2, 96)),
    "layer10.weight": ((1, 5), he(1, 5)),
    "layer10.bias": ((1,), None),
}
GENFORCE_STYLEGAN = {
    "mapping.dense0.weight": ((5, 6), he(SQRT2, 6, 0.01)),
    "mapping.dense0.bias": ((5,), 0.01),
    "truncation.w_avg": ((5,), None),
    "synthesis.lod": ((), None),
    "synthesis.layer0.const": ((1, 4, 4, 4), None),
    "synthesis.layer0.apply_noise.weight": ((4,), None),
    "synthesis.layer0.apply_noise.noise": ((1, 1, 4, 4), None),
    "synthesis.layer0.style.weight": ((8, 5), he(1, 5)),
    "synthesis.layer0.style.bias": ((8,), None),
    "synthesis.layer2.weight": ((6, 4, 3, 3), he(SQRT2, 36)),
    "synthesis.layer2.blur.kernel": ((6, 1, 3, 3), None),
    "synthesis.output0.weight": ((3, 4, 1, 1), he(1, 4)),
}
GENFORCE_STYLEGAN2 = {
    "mapping.dense0.weight": ((5, 6), he(1, 6, 0.01)),
    "mapping.dense0.bias": ((5,), 0.01),
    "synthesis.early_layer.const": ((1, 4, 4, 4), None),
    "synthesis.layer0.weight": ((6, 4, 3, 3), he(1, 36)),
    "synthesis.layer0.bias": ((6,), None),
    "synthesis.layer0.style.weight": ((4, 5), he(1, 5)),
    "synthesis.layer0.style.bias": ((4,), None),
    "synthesis.layer0.noise": ((1, 1, 4, 4), None),
    "synthesis.layer0.noise_strength": ((), None),
    "synthesis.layer1.filter.kernel": ((1, 1, 4, 4), None),
    "synthesis.output0.weight": ((3, 6, 1, 1), he(1, 6)),
    "synthesis.upsample.kernel": ((1, 1, 4, 4), None),
}
GENFORCE_STYLEGAN2_D = {
    "input0.weight": ((4, 3, 1, 1), he(1, 3)),
    "input0.bias": ((4,), None),
    "layer0.weight": ((4, 5, 3, 3), he(1, 45)),
    "layer1.filter.kernel": ((1, 1, 4, 4), None),
    "skip_layer0.weight": ((6, 4, 1, 1), he(1, 4)),
    "layer4.weight": ((1, 5), he(1, 5)),
}

ALAE_G = {
    "const": ((1, 8, 4, 4), None),
    "decode_block.0.conv_2.weight": ((8, 8, 3, 3), he(SQRT2, 72)),
    "decode_block.0.bias_1": ((1, 8, 1, 1), None),
    "decode_block.0.noise_weight_1": ((1, 8, 1, 1), None),
    "decode_block.0.style_1.weight": ((16, 10), he(1, 10)),
    "decode_block.0.style_1.bias": ((16,), None),
    "decode_block.0.blur.weight": ((8, 1, 3, 3), None),
    "decode_block.1.conv_1.weight": ((6, 8, 3, 3), he(SQRT2, 72)),
    "decode_block.5.conv_1.weight": ((8, 6, 3, 3), he(SQRT2, 72)),
    "to_rgb.0.to_rgb.weight": ((3, 8, 1, 1), he(0.03, 8)),
    "to_rgb.0.to_rgb.bias": ((3,), None),
}
ALAE_E = {
    "encode_block.0.conv_1.weight": ((6, 6, 3, 3), he(SQRT2, 54)),
    "encode_block.0.conv_2.weight": ((8, 6, 3, 3), he(SQRT2, 54)),
    "encode_block.0.style_1.weight": ((10, 12), he(SQRT2, 12)),
    "encode_block.1.dense.weight": ((8, 128), he(SQRT2, 128)),
    "encode_block.1.dense.bias": ((8,), None),
    "from_rgb.0.from_rgb.weight": ((6, 3, 1, 1), he(SQRT2, 3)),
    "fc2.weight": ((1, 8), he(1, 8)),
}
ALAE_F = {
    "map_blocks.0.fc.weight": ((10, 12), he(SQRT2, 12, 0.1)),
    "map_blocks.0.fc.bias": ((10,), 0.1),
}
ALAE_MAPPING = {
    "block_1.fc.weight": ((10, 12), he(SQRT2, 12, 0.01)),
    "block_1.fc.bias": ((10,), 0.01),
}

IMAGINAIRE = {
    "first.layers.conv.weight_ori": ((5, 4, 3, 3), he(1, 36)),
    "first.layers.conv.weight_scale": ((), None),
    "first.layers.conv.bias_ori": ((5,), 1.0),
    "first.layers.conv.bias_scale": ((), None),
    "first.layers.noise.scale": ((1,), None),
    "norm.weight": ((5,), None),
    "norm.bias": ((5,), None),
}
OT_VAE = {
    "conv.parametrizations.weight.original": ((5, 4, 3, 3), he(1, 36)),
    "conv.parametrizations.bias.original": ((5,), None),
    "norm.weight": ((5,), None),
    "norm.bias": ((5,), None),
}

OWN = {
    "0.weight_orig": ((5, 6), he(SQRT2, 6, 0.5)),
    "0.bias_orig": ((5,), 0.5),
    "norm.weight": ((5,), None),
    "rnn.weight_ih_l0_orig": ((8, 5), he(SQRT2, 5)),
    "rnn.bias_ih_l0": ((8,), None),
}
OWN_SCALES = {key.removesuffix("_orig"): c for key, (_, c) in OWN.items() if c is not None}

# Family, what has to be said besides, and the network; a network of two parts is joined.
NETWORKS = {
    "equalized-lr": ("equalized-lr", {"scales": OWN_SCALES}, OWN),
    "pggan": ("pggan", {}, PGGAN),
    "stylegan-1": ("stylegan", {}, STYLEGAN1),
    "stylegan-1-d": ("stylegan", {}, STYLEGAN1_D),
    "stylegan-2": ("stylegan", {}, STYLEGAN2),
    "stylegan-2-d": ("stylegan", {}, STYLEGAN2_D),
    "ada": ("stylegan2-ada", {}, ADA),
    "ada-d": ("stylegan2-ada", {}, ADA_D),
    "sg3": ("stylegan3", {}, SG3),
    "sg3-d": ("stylegan3", {}, ADA_D),
    "rosinality-progressive": ("rosinality-progressive", {}, ROSINALITY_PROGRESSIVE),
    "rosinality-stylegan": ("rosinality-stylegan", {}, ROSINALITY_STYLEGAN),
    "rosinality-stylegan-d": ("rosinality-stylegan", {}, ROSINALITY_STYLEGAN_D),
    "rosinality-stylegan2": ("rosinality-stylegan2", {}, ROSINALITY_STYLEGAN2),
    "rosinality-stylegan2-d": ("rosinality-stylegan2", {}, ROSINALITY_STYLEGAN2_D),
    "basicsr": ("basicsr", {}, BASICSR),
    "stylegan2-torch": ("stylegan2-torch", {}, STYLEGAN2_TORCH),
    "mmgen-pggan": ("mmgen", {}, MMGEN_PGGAN),
    "mmgen-stylegan1": ("mmgen", {}, MMGEN_STYLEGAN1),
    "mmgen-stylegan1-d": ("mmgen", {}, MMGEN_STYLEGAN1_D),
    "mmgen-stylegan2": ("mmgen", {}, MMGEN_STYLEGAN2),
    "pro-gan-pth": ("pro-gan-pth", {}, PRO_GAN_PTH),
    "pro-gan-pth-d": ("pro-gan-pth", {}, PRO_GAN_PTH_D),
    "gan-zoo": ("gan-zoo", {}, GAN_ZOO),
    "gan-zoo-stylegan": ("gan-zoo", {}, GAN_ZOO_STYLEGAN),
    "genforce-pggan": ("genforce", {}, GENFORCE_PGGAN),
    "genforce-d": ("genforce", {}, GENFORCE_D),
    "genforce-stylegan": ("genforce", {}, GENFORCE_STYLEGAN),
    "genforce-stylegan2": ("genforce", {}, GENFORCE_STYLEGAN2),
    "genforce-stylegan2-d": ("genforce", {}, GENFORCE_STYLEGAN2_D),
    "alae-g": ("alae", {"form": "explicit"}, ALAE_G),
    "alae-e": ("alae", {"form": "explicit"}, ALAE_E),
    "alae-f": ("alae", {"form": "explicit"}, ALAE_F),
    "alae-mapping": ("alae", {"form": "explicit"}, ALAE_MAPPING),
    "stylegan-xl": ("stylegan-xl", {}, newer.STYLEGAN_XL),
    "stylegan-xl-d": ("stylegan-xl", {}, newer.STYLEGAN_XL_D),
    "stylegan-t": ("stylegan-t", {}, newer.STYLEGAN_T),
    "stylegan-t-d": ("stylegan-t", {}, newer.STYLEGAN_T_D),
    "eg3d": ("eg3d", {"decoder_lr_mul": 0.5}, newer.EG3D),
    "eg3d-d": ("eg3d", {}, newer.EG3D_D),
    "mat": ("mat", {}, newer.MAT),
    "mat-d": ("mat", {}, newer.MAT_D),
    "swagan": ("swagan", {}, newer.SWAGAN),
    "swagan-d": ("swagan", {}, newer.SWAGAN_D),
    "lia": ("lia", {}, newer.LIA),
    "float": ("float", {}, newer.FLOAT),
    "styleswin": ("styleswin", {}, newer.STYLESWIN),
    "styleswin-d": ("styleswin", {}, newer.STYLESWIN_D),
    "mmgen-stylegan3": ("mmgen", {}, newer.MMGEN_STYLEGAN3),
    "imaginaire": ("imaginaire", {}, IMAGINAIRE),
    "ot-vae": ("ot-vae", {}, OT_VAE),
}


def stored(name, dtype=torch.float64):
    """The stored state_dict of one of NETWORKS, of normal values, and the facts that it needs."""
    family, facts, keys = NETWORKS[name]
    state = {key: torch.randn(shape, dtype=dtype) for key, (shape, _) in keys.items()}
    for key in state:
        if key.endswith("_scale"):
            weight = key.replace("_scale", "_ori")
            state[key] = torch.tensor(keys[weight][1], dtype=dtype)
    if family == "equalized-lr":
        state = signed(state)
    return family, facts, state


def signed(state):
    """The state_dict with the metadata that equalized modules leave in it."""
    metadata = OrderedDict({"": {}, "norm": {"version": 1}})
    for key, scale in OWN_SCALES.items():
        path, _, name = key.rpartition(".")
        own = {"version": 1, "equalized_lr": {"version": 1, "scales": {}}}
        metadata.setdefault(path, own)["equalized_lr"]["scales"][name] = scale
    state = OrderedDict(state)
    state._metadata = metadata
    return state
