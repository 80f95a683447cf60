"""Where checkpoints of StyleGAN's later relatives are easily read wrong, one test for each."""

import pytest
import torch
from torch.nn import functional as F

from equalized_lr import errors
from equalized_lr.checkpoint import explain, from_plain, guess, to_plain
from tests.support.assertions import assert_equal, assert_ulps
from tests.support.reference_layers import dense

# Sums of at most a dozen products, in another order.
ULPS = 16


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def scale_of(state, family, key, **facts):
    return next(row.scale for row in explain(state, family, **facts) if row.key == key)


def test_stylegan_xl_looks_its_classes_up():
    """Its mapping.embed is an nn.Embedding and stays; the projection behind it is equalized."""
    embed, w, b = normal(7, 5), normal(4, 5), normal(4)
    state = {
        "mapping.embed.weight": embed,
        "mapping.embed_proj.weight": w,
        "mapping.embed_proj.bias": b,
    }
    plain = to_plain(state, "stylegan-xl")
    assert_equal(plain["mapping.embed.weight"], embed)
    classes = embed[[3, 0]]
    ours = F.linear(classes, plain["mapping.embed_proj.weight"], plain["mapping.embed_proj.bias"])
    assert_ulps(ours, dense(classes, w, b, 5**-0.5), ULPS)


@pytest.mark.parametrize("family", ["stylegan2-ada", "stylegan3"])
def test_an_embedding_is_no_label_layer(family):
    """With a bias `mapping.embed` is a layer of NVIDIA's; without one it is StyleGAN-XL's table."""
    state = {"mapping.embed.weight": normal(4, 4), "mapping.embed.bias": normal(4)}
    assert scale_of(state, family, "mapping.embed.weight") == 0.5
    with pytest.raises(errors.UnknownKeys, match="like stylegan-xl"):
        to_plain({"mapping.embed.weight": normal(4, 4)}, family)
    with pytest.raises(errors.UnknownKeys, match=r"'mapping\.embed\.bias'"):
        to_plain(state, "stylegan-xl")


def test_stylegan_t_splits_its_styles():
    """One layer gives three styles, m1 * m2 + m3; it is equalized like any other."""
    w, b, style = normal(6, 4), normal(6), normal(3, 4)
    name = "synthesis.b16.torgb.affine.proj"
    plain = to_plain({f"{name}.weight": w, f"{name}.bias": b}, "stylegan-t")
    one, two, three = dense(style, w, b, 0.5).chunk(3, 1)
    ours = F.linear(style, plain[f"{name}.weight"], plain[f"{name}.bias"]).chunk(3, 1)
    assert_ulps(ours[0] * ours[1] + ours[2], one * two + three, ULPS)


def test_eg3d_decoder_has_a_multiplier_of_its_own():
    """`decoder_lr_mul` is the decoder's, with its biases, and `lr_mul` the mapping's."""
    state = {
        "decoder.net.0.weight": normal(6, 4),
        "decoder.net.0.bias": normal(6),
        "backbone.mapping.fc0.weight": normal(6, 4),
        "backbone.mapping.fc0.bias": normal(6),
    }
    scales = [step.scale for step in explain(state, "eg3d", decoder_lr_mul=0.25, lr_mul=0.5)]
    assert scales == [0.125, 0.25, 0.25, 0.5]
    assert [step.scale for step in explain(state, "eg3d")] == [0.5, 1.0, 0.005, 0.01]


def test_mat_scales_demodulated_weights_too():
    """MAT multiplies before it demodulates, where NVIDIA leaves such a weight alone."""
    key = "synthesis.dec.Dec_32x32.conv0.conv.weight"
    assert scale_of({key: normal(1, 6, 4, 2, 2)}, "mat", key) == 0.25


def test_styleswin_mixes_equalized_and_plain_layers():
    """Styles and the mapping are equalized, attention, MLPs and toRGB are plain."""
    state = {
        "layers.0.blocks.0.norm1.style.weight": normal(8, 4),
        "layers.0.blocks.0.qkv.weight": normal(12, 4),
        "layers.0.blocks.0.mlp.fc2.weight": normal(4, 16),
        "to_rgbs.0.conv.weight": normal(3, 4, 1, 1),
    }
    assert [step.scale for step in explain(state, "styleswin")] == [0.5, None, None, None]


def test_lia_to_rgb_is_no_modulated_layer():
    """LIA's toRGB is an ordinary layer (4 axes), its toFlow a modulated one (5 axes)."""
    state = {
        "dec.to_rgbs.0.conv.0.weight": normal(3, 4, 1, 1),
        "dec.to_flows.0.conv.weight": normal(1, 3, 4, 1, 1),
        "dec.direction.weight": normal(4, 4),
    }
    assert [step.scale for step in explain(state, "lia")] == [0.5, 0.5, None]


def test_mmagic_stylegan3_has_no_hook():
    """Its generator has NVIDIA's layers below `style_mapping`, its discriminator mmgen's hook."""
    state = {
        "generator.style_mapping.fc0.weight": normal(4, 4),
        "generator.synthesis.L0_36_4.weight": normal(4, 4, 1, 1),
        "generator.synthesis.L9_36_3.weight": normal(3, 4, 1, 1),
        "discriminator.final_conv.0.conv.weight_orig": normal(4, 4, 2, 2),
    }
    assert [step.scale for step in explain(state, "mmgen")] == [0.005, None, 0.5, 0.25]


WRAPPED = [
    ("decoder.", "rosinality-stylegan2"),  # pSp, e4e, HyperStyle
    ("generator.", "rosinality-stylegan2"),  # GPEN
    ("stylegan_decoder.", "basicsr"),  # GFPGAN v1
]


@pytest.mark.parametrize(("prefix", "family"), WRAPPED)
def test_networks_behind_a_prefix(prefix, family):
    """An encoder around a generator is found, and converted only as far as the prefix goes."""
    inner = {f"style{'_mlp' if family == 'basicsr' else ''}.1.weight": normal(4, 4)}
    state = {"encoder.body.0.weight": normal(4, 4)} | {prefix + k: v for k, v in inner.items()}
    assert guess({prefix + key: value for key, value in inner.items()}) == [family]
    (key,) = inner
    with pytest.raises(errors.OutsidePrefix, match=r"'encoder\.body\.0\.weight'"):
        to_plain(state, family, prefix=prefix)
    kept = to_plain(state, family, prefix=prefix, rest="keep")
    assert list(kept) == list(state)
    assert_equal(kept["encoder.body.0.weight"], state["encoder.body.0.weight"])
    assert_equal(kept[prefix + key], state[prefix + key] * 0.005)
    assert list(to_plain(state, family, prefix=prefix, rest="drop")) == [prefix + key]
    again = from_plain(kept, family, prefix=prefix.rstrip("."), rest="keep")
    assert_ulps(again[prefix + key], state[prefix + key], 2)
