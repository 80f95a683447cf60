"""Checkpoints whose own names say what was equalized: imaginaire's, and ot-vae-lightning's."""

from __future__ import annotations

from equalized_lr.checkpoint.rows import Family, Row, Scale, out_in

ORI = "{path}{name}_ori"
NDIM = (2, 3, 4, 5)
weight = Scale(1.0, out_in, "lr_mul", saved="weight_scale")

# On the way back every weight with a fan is taken for an equalized one, and every bias beside it.
IMAGINAIRE = Family(
    "imaginaire",
    "NVlabs/imaginaire, imaginaire/layers/weight_norm.py",
    {
        "": (
            Row("**weight_scale", why="constant", only="weight_ori", dropped=True),
            Row("**bias_scale", why="constant", only="weight_ori", dropped=True),
            Row(
                "**weight_orig",
                weight,
                "spectral norm too",
                stored="{path}weight_ori",
                ndim=NDIM,
                only="weight_u",
            ),
            Row("**weight", weight, "weight", stored=ORI, ndim=NDIM),
            Row(
                "**bias",
                Scale(lr_mul="lr_mul", saved="bias_scale"),
                "bias",
                stored=ORI,
                beside_weight=True,
            ),
            Row("**", why="not equalized"),
        )
    },
    facts={"lr_mul": 1.0},
)

# A slip of its own passes lr_mul to the bias as a gain, which a bias does not use.
OT_VAE = Family(
    "ot-vae",
    "theoad/ot-vae-lightning, ot_vae_lightning/utils/elr.py",
    {
        "": (
            Row(
                "**weight",
                Scale("gain", out_in, "lr_mul"),
                "weight",
                stored="{path}parametrizations.{name}.original",
                ndim=(2, 4),
            ),
            Row(
                "**bias",
                why="bias",
                stored="{path}parametrizations.{name}.original",
                beside_weight=True,
            ),
            Row("**", why="not equalized"),
        )
    },
    facts={"gain": 1.0, "lr_mul": 1.0},
)
