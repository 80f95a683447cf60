"""The places where checkpoints of other code bases are easily read wrong, one test for each."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from equalized_lr import errors
from equalized_lr.checkpoint import explain, from_plain, to_plain
from tests.support.assertions import assert_equal, assert_ulps
from tests.support.reference_layers import (
    dense,
    output_scaled,
    pggan_up,
    stylegan_up,
    tf_conv,
)

# Sums of at most a hundred products, in another order.
ULPS = 64


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def up(x):
    return F.interpolate(x, scale_factor=2, mode="nearest")


def scale_of(state, family, key, **facts):
    return next(step.scale for step in explain(state, family, **facts) if step.key == key)


def test_tensorflow_kernels():
    """(h, w, in, out) becomes (out, in, h, w), and is not mirrored."""
    w, x = normal(3, 3, 4, 5), normal(2, 4, 6, 6)
    plain = to_plain({"8x8/Conv1/weight": w}, "pggan")["8x8.Conv1.weight"]
    assert_ulps(F.conv2d(x, plain, padding=1), tf_conv(x, w, 2**0.5), ULPS)


def test_pggan_fused_up_convolution():
    """PGGAN's fused kernel is (h, w, out, in), and mirrored on the upsampled image."""
    w, x = normal(3, 3, 5, 4), normal(2, 4, 6, 6)
    plain = to_plain({"8x8/Conv0_up/weight": w}, "pggan")["8x8.Conv0_up.weight"]
    assert_ulps(F.conv2d(up(x), plain, padding=1), pggan_up(x, w), ULPS)
    with pytest.raises(AssertionError, match="ulps apart"):  # the mirror is needed
        assert_ulps(F.conv2d(up(x), plain.flip(2, 3), padding=1), pggan_up(x, w), ULPS)


@pytest.mark.parametrize(("side", "fused"), [(64, False), (128, True), (1024, True)])
def test_stylegan_fuses_from_128_on(side, fused):
    """StyleGAN's kernel is (h, w, in, out) always, and mirrored only where it is fused."""
    w, x = normal(3, 3, 4, 5), normal(2, 4, 6, 6)
    name = f"{side}x{side}/Conv0_up"
    state = {f"{name}/weight": w, f"{name}/StyleMod/weight": normal(6, 10)}
    plain = to_plain(state, "stylegan")[f"{side}x{side}.Conv0_up.weight"]
    expected = stylegan_up(x, w) if fused else tf_conv(up(x), w, 2**0.5)
    assert_ulps(F.conv2d(up(x), plain, padding=1), expected, ULPS)


def test_stylegan_fused_scale_is_a_fact():
    """`fused_from` says from which resolution on a network fuses: always, or never."""
    state = {
        "8x8/Conv0_up/weight": normal(3, 3, 4, 5),
        "8x8/Conv0_up/StyleMod/weight": normal(6, 10),
    }
    never = to_plain(state, "stylegan", fused_from=float("inf"))["8x8.Conv0_up.weight"]
    always = to_plain(state, "stylegan", fused_from=4)["8x8.Conv0_up.weight"]
    assert_equal(always.flip(2, 3), never)
    again = from_plain(
        {**to_plain(state, "stylegan"), "8x8.Conv0_up.weight": always}, "stylegan", fused_from=4
    )
    assert_ulps(again["8x8/Conv0_up/weight"], state["8x8/Conv0_up/weight"], 2)


def test_stylegan2_variables_have_no_gain_and_no_mirror():
    """In StyleGAN2 sqrt(2) has moved into the activation, and kernels are mirrored at run time."""
    w, x = normal(3, 3, 4, 5), normal(2, 4, 6, 6)
    state = {"128x128/Conv0_up/weight": w, "128x128/Conv0_up/mod_weight": normal(6, 4)}
    plain = to_plain(state, "stylegan")["128x128.Conv0_up.weight"]
    assert_ulps(F.conv2d(x, plain, padding=1), tf_conv(x, w, 1.0), ULPS)


def test_a_mapping_alone_does_not_say_its_version():
    """StyleGAN and StyleGAN2 share the mapping's names, not its gain: that has to be said."""
    state = {"Dense0/weight": normal(4, 4), "Dense0/bias": normal(4)}
    with pytest.raises(errors.Undecided, match="version='1' or '2'"):
        to_plain(state, "stylegan")
    one, two = (to_plain(state, "stylegan", version=version) for version in (1, 2))
    assert_ulps(one["Dense0.weight"], two["Dense0.weight"] * 2**0.5, 1)


def test_gains_of_pggan_dense_layers():
    """The first dense layer of the generator has gain sqrt(2) / 4, the last of D has 1."""
    state = {
        "4x4/Dense/weight": normal(8, 64),
        "4x4/Dense0/weight": normal(8, 4),
        "4x4/Dense1/weight": normal(8, 1),
    }
    assert scale_of(state, "pggan", "4x4/Dense/weight") == pytest.approx(0.25 * 0.5, rel=1e-15)
    assert scale_of(state, "pggan", "4x4/Dense0/weight") == pytest.approx(0.5, rel=1e-15)
    assert scale_of(state, "pggan", "4x4/Dense1/weight") == pytest.approx(8**-0.5, rel=1e-15)


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("stylegan2-ada", "mapping.fc3"),
        ("stylegan3", "mapping.fc1"),
        ("rosinality-stylegan2", "style.3"),
        ("basicsr", "style_mlp.3"),
        ("stylegan2-torch", "mapping.3"),
    ],
)
@pytest.mark.parametrize("lr_mul", [0.01, 0.5])
def test_mapping_biases_are_scaled_too(family, name, lr_mul):
    """A mapping layer multiplies its weight by lr_mul / sqrt(in), and its bias by lr_mul."""
    w, b, x = normal(5, 6), normal(5), normal(3, 6)
    plain = to_plain({f"{name}.weight": w, f"{name}.bias": b}, family, lr_mul=lr_mul)
    layer = nn.Linear(6, 5).double()
    layer.load_state_dict({key: plain[f"{name}.{key}"] for key in ("weight", "bias")})
    expected = dense(x, w, b, lr_mul / 6**0.5, lr_mul)
    assert_ulps(layer(x).detach(), expected, ULPS)


def test_mmgen_mapping_bias_outside_of_its_linear():
    """mmgen keeps the mapping's bias beside `.linear`, and multiplies it by lr_mul."""
    w, b, x = normal(5, 6), normal(5), normal(3, 6)
    state = {"style_mapping.1.linear.weight_orig": w, "style_mapping.1.bias": b}
    plain = to_plain(state, "mmgen", architecture="stylegan2")
    ours = F.linear(x, plain["style_mapping.1.linear.weight"], plain["style_mapping.1.bias"])
    assert_ulps(ours, dense(x, w, b, 0.01 / 6**0.5, 0.01), ULPS)


def test_mmgen_architectures_share_names():
    """The same key has gain sqrt(2) in StyleGAN's discriminator and 1 in StyleGAN2's."""
    key = "convs.0.0.conv.weight_orig"
    first = {key: normal(5, 4, 3, 3), "from_rgb.0.conv.weight_orig": normal(4, 3, 3, 3)}
    second = {key: normal(5, 4, 3, 3), "final_conv.0.conv.weight_orig": normal(4, 5, 3, 3)}
    ratio = scale_of(first, "mmgen", key) / scale_of(second, "mmgen", key)
    assert ratio == pytest.approx(2**0.5)
    with pytest.raises(errors.Undecided, match="architecture="):
        to_plain({key: normal(5, 4, 3, 3)}, "mmgen")


def test_mmgen_counts_a_transposed_convolution_as_torch_does():
    """Of (in, out, 3, 3) mmgen counts out * 9, though in * 9 would be right."""
    state = {"conv_blocks.1.conv.weight_orig": normal(8, 2, 3, 3)}
    assert scale_of(state, "mmgen", *state) == pytest.approx((2 / 18) ** 0.5)


def test_nvidia_demodulated_weights_have_no_constant():
    """A demodulated weight is left alone, and any constant would give the same images."""
    key = "synthesis.b8.conv0.weight"
    w, style = normal(5, 4, 3, 3), normal(4)
    plain = to_plain({key: w}, "stylegan2-ada")[key]
    assert_equal(plain, w)

    def demodulated(w):
        kernel = w * style.view(1, -1, 1, 1)
        return kernel / kernel.square().sum((1, 2, 3), keepdim=True).sqrt()

    assert_ulps(demodulated(w / 36**0.5), demodulated(w), 8)


@pytest.mark.parametrize(
    ("family", "layer"),
    [("stylegan2-ada", "synthesis.b8.torgb"), ("stylegan3", "synthesis.L14_256_3")],
)
def test_nvidia_to_rgb_gain_sits_in_the_styles(family, layer):
    """ToRGB multiplies its styles by 1 / sqrt(in), which the plain weight has in it."""
    w, affine, bias, style = normal(3, 4, 1, 1), normal(4, 6), normal(4), normal(6)
    x = normal(1, 4, 5, 5)
    state = {f"{layer}.weight": w, f"{layer}.affine.weight": affine, f"{layer}.affine.bias": bias}
    plain = to_plain(state, family)
    styles = dense(style, affine, bias, 6**-0.5) * 4**-0.5
    expected = F.conv2d(x, w * styles.view(1, -1, 1, 1))
    ours = F.linear(style, plain[f"{layer}.affine.weight"], plain[f"{layer}.affine.bias"])
    assert_ulps(F.conv2d(x, plain[f"{layer}.weight"] * ours.view(1, -1, 1, 1)), expected, ULPS)


def test_stylegan3_to_rgb_is_the_last_layer():
    """In StyleGAN3-R all kernels are 1 x 1: the last layer, which has no filter, is ToRGB."""
    state = {f"synthesis.L{i}_36_8.weight": normal(8, 8, 1, 1) for i in range(11)}
    scales = {step.key: step.scale for step in explain(state, "stylegan3")}
    assert [key for key, scale in scales.items() if scale] == ["synthesis.L10_36_8.weight"]
    filtered = {**state, "synthesis.L10_36_8.up_filter": normal(12)}
    assert not any(step.scale for step in explain(filtered, "stylegan3"))


def test_rosinality_scales_its_noise_strength():
    """The style-based GAN's hook is on the noise, too: (1, C, 1, 1) times sqrt(2 / C)."""
    state = {"generator.progression.0.noise1.weight_orig": normal(1, 8, 1, 1)}
    plain = to_plain(state, "rosinality-stylegan")
    assert_ulps(plain["generator.progression.0.noise1.weight"], 0.5 * state.popitem()[1], 1)


def test_rosinality_fused_layers_have_no_suffix():
    """`conv1.0.weight` is a fused up-convolution (in, out), not a blur kernel."""
    state = {
        "progression.5.conv1.0.weight": normal(8, 3, 1, 1),
        "progression.5.conv1.1.weight": normal(3, 1, 3, 3),
        "progression.5.conv1.1.weight_flip": normal(3, 1, 3, 3),
    }
    assert [step.scale for step in explain(state, "rosinality-stylegan")] == [0.5, None, None]


def test_rosinality_progressive_output_layers_are_plain():
    """to_rgb, from_rgb and linear of the progressive GAN have no hook."""
    state = {"to_rgb.0.weight": normal(3, 4, 1, 1), "linear.weight": normal(11, 4)}
    for key, value in to_plain(state, "rosinality-progressive").items():
        assert_equal(value, state[key])


def test_rosinality_stylegan2_calls_everything_weight():
    """Noise strengths, constants and toRGB biases are left alone, whatever their names."""
    state = {
        "conv1.noise.weight": normal(1),
        "input.input": normal(1, 4, 4, 4),
        "to_rgb1.bias": normal(1, 3, 1, 1),
        "conv1.activate.bias": normal(4),
        "convs.0.conv.blur.kernel": normal(4, 4),
    }
    for key, value in to_plain(state, "rosinality-stylegan2").items():
        assert_equal(value, state[key])


def test_five_axes_begin_with_a_one():
    """A modulated weight (1, out, in, k, k) counts in * k * k."""
    state = {"conv1.conv.weight": normal(1, 7, 4, 2, 2)}
    assert scale_of(state, "rosinality-stylegan2", *state) == 0.25


def test_basicsr_noise_is_called_weight():
    """`style_convs.0.weight` is a noise strength, `constant_input.weight` a constant."""
    state = {"style_convs.0.weight": normal(1), "constant_input.weight": normal(1, 4, 4, 4)}
    for key, value in to_plain(state, "basicsr").items():
        assert_equal(value, state[key])


def test_pro_gan_pth_first_layer_counts_one_tap():
    """Its transposed convolution on one pixel counts in, and a 4 x 4 convolution of D all."""
    state = {
        "layers.0.conv_1.weight": normal(8, 5, 4, 4),
        "layers.0.conv_2.weight": normal(5, 8, 4, 4),
    }
    assert [step.scale for step in explain(state, "pro-gan-pth")] == pytest.approx(
        [0.5, (2 / 128) ** 0.5]
    )


def test_gan_zoo_biases_are_in_units_of_c():
    """The zoo multiplies a layer's output: its bias counts c times."""
    w, b, x = normal(5, 6), normal(5), normal(3, 6)
    state = {"decisionLayer.module.weight": w, "decisionLayer.module.bias": b}
    plain = to_plain(state, "gan-zoo")
    ours = F.linear(x, plain["decisionLayer.module.weight"], plain["decisionLayer.module.bias"])
    assert_ulps(ours, output_scaled(x, w, b, (2 / 6) ** 0.5), ULPS)
    with pytest.raises(errors.UnfitTensor, match="has no 'weight' beside it"):
        to_plain({"decisionLayer.module.bias": b}, "gan-zoo")


def test_gan_zoo_files_before_the_wrapper():
    """Older files of the zoo have no `.module` in their names."""
    state = {"scaleLayers.0.0.weight": normal(4, 8, 1, 1), "scaleLayers.0.0.bias": normal(4)}
    assert [step.scale for step in explain(state, "gan-zoo")] == [0.5, 0.5]


def alae(explicit):
    """A decoder and a mapping as ALAE initializes them, after some training."""
    lr_mul = {"block_1.fc.weight": 0.01, "map_blocks.0.fc.weight": 0.1}
    shapes = {
        "decode_block.1.conv_1.weight": (32, 32, 3, 3),
        "decode_block.1.style_1.weight": (64, 32),
        "to_rgb.0.to_rgb.weight": (3, 32, 1, 1),
        "block_1.fc.weight": (32, 32),
        "map_blocks.0.fc.weight": (32, 32),
    }
    gains = {"decode_block.1.style_1.weight": 1, "to_rgb.0.to_rgb.weight": 0.03}
    state = {}
    for key, shape in shapes.items():
        fan = shape[1] * (9 if len(shape) == 4 and shape[2] == 3 else 1)
        std = gains.get(key, 2**0.5) / fan**0.5
        state[key] = normal(*shape) * (1 / lr_mul.get(key, 1) if explicit else std) * 1.3
    return state


def test_alae_forms_are_told_by_their_statistics():
    """Explicit weights are about 1 / lr_mul in size, implicit ones are effective already."""
    implicit = to_plain(alae(explicit=False), "alae")
    for step in explain(alae(explicit=False), "alae"):
        assert step.scale is None
        assert step.name in implicit
    state = alae(explicit=True)
    for key, value in to_plain(state, "alae").items():
        assert_equal(value, to_plain(state, "alae", form="explicit")[key])
    assert all(step.scale for step in explain(state, "alae"))


@pytest.mark.parametrize("size", [0.2, 0.29])
def test_alae_forms_in_between_are_refused(size):
    """A weight that could be either is not guessed, and nor is one that is too small to tell."""
    state = {"decode_block.1.conv_2.weight": size * normal(32, 32, 3, 3)}
    with pytest.raises(errors.Undecided, match="form='explicit' or 'implicit'"):
        to_plain(state, "alae")
    for silent in (normal(1, 8), torch.zeros(16, 16), torch.ones(16, 16, device="meta")):
        with pytest.raises(errors.Undecided):
            to_plain({"fc2.weight": silent}, "alae")


def test_alae_on_the_way_back_needs_its_form():
    """Effective weights do not say in which form they are wanted."""
    plain = to_plain(alae(explicit=True), "alae")
    with pytest.raises(errors.Undecided):
        from_plain(plain, "alae")
    for key, value in from_plain(plain, "alae", form="implicit").items():
        assert_equal(value, plain[key])


def test_alae_up_convolutions_in_either_layout():
    """(in, out) where fused, (out, in) where not: the larger is in, since decoders narrow."""
    for shape in ((8, 4, 1, 1), (4, 8, 1, 1)):
        state = {"decode_block.3.conv_1.weight": normal(*shape)}
        assert scale_of(state, "alae", *state, form="explicit") == pytest.approx(0.5)


def test_imaginaire_says_its_constants():
    """The constants are in the file, and used as they are; what has none is left alone."""
    state = {
        "a.weight_ori": normal(4, 4),
        "a.weight_scale": torch.tensor(0.125),
        "a.bias_ori": normal(4),
        "a.bias_scale": torch.tensor(0.5),
        "norm.weight": normal(4),
    }
    plain = to_plain(state, "imaginaire")
    assert list(plain) == ["a.weight", "a.bias", "norm.weight"]
    assert_equal(plain["a.weight"], state["a.weight_ori"] * 0.125)
    assert_equal(plain["a.bias"], state["a.bias_ori"] * 0.5)
    assert_equal(plain["norm.weight"], state["norm.weight"])
    for scale in ({}, {"a.weight_scale": torch.ones(2)}):
        with pytest.raises(
            errors.UnfitTensor, match=r"^'a\.weight_ori' .*no number 'a\.weight_scale'"
        ):
            to_plain({"a.weight_ori": normal(4, 4)} | scale, "imaginaire")
    for constant in (0.0, -1.0, float("nan")):
        state["a.weight_scale"] = torch.tensor(constant)
        with pytest.raises(errors.UnfitTensor, match=r"^'a\.weight_ori' .*has the constant c = "):
            to_plain(state, "imaginaire")


def test_imaginaire_below_spectral_norm():
    """Where spectral norm is on top, the plain weight goes to torch's own spectral norm."""
    state = {
        "a.weight_ori": normal(4, 4),
        "a.weight_scale": torch.tensor(0.5, dtype=torch.float64),
        "a.weight_u": normal(4),
        "a.weight_v": normal(4),
        "a.bias_ori": normal(4),
        "a.bias_scale": torch.tensor(1.0, dtype=torch.float64),
    }
    plain = to_plain(state, "imaginaire")
    assert list(plain) == ["a.weight_orig", "a.weight_u", "a.weight_v", "a.bias"]
    layer = nn.utils.spectral_norm(nn.Linear(4, 4)).double().eval()
    layer.load_state_dict({key[2:]: value for key, value in plain.items()})
    again = from_plain(plain, "imaginaire")
    assert set(again) == set(state)
    for key, value in state.items():
        assert_equal(again[key], value)


def test_imaginaire_averages_are_plain_already():
    """Its averaged model keeps effective weights: they pass through."""
    state = {"averaged_model.conv.weight": normal(4, 4), "num_updates_tracked": torch.tensor(3)}
    for key, value in to_plain(state, "imaginaire").items():
        assert_equal(value, state[key])


def test_ot_vae_biases_are_not_scaled():
    """Its lr_mul never reaches the bias, by a slip that its files live with."""
    state = {
        "a.parametrizations.weight.original": normal(4, 4),
        "a.parametrizations.bias.original": normal(4),
    }
    plain = to_plain(state, "ot-vae", gain=4, lr_mul=0.25)
    assert_equal(plain["a.weight"], state["a.parametrizations.weight.original"] * 0.5)
    assert_equal(plain["a.bias"], state["a.parametrizations.bias.original"])


def test_genforce_last_layer_of_a_discriminator():
    """Only the last dense layer of PGGAN's discriminator has gain 1, whatever its number."""
    state = {
        "input0.weight": normal(4, 3, 1, 1),
        "layer9.weight": normal(5, 8),
        "layer10.weight": normal(1, 4),
    }
    scales = [step.scale for step in explain(state, "genforce")]
    assert scales == pytest.approx([(2 / 3) ** 0.5, 0.5, 0.5])
