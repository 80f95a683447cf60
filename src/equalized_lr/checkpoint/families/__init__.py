"""The rule tables, one file for each source of code."""

from equalized_lr.checkpoint.families import (
    alae,
    genforce,
    mat,
    mmgen,
    nvidia,
    own,
    progressive,
    relatives,
    rosinality,
    self_describing,
    stylegan2,
    tensorflow,
)

FAMILIES = {
    family.name: family
    for family in (
        own.EQUALIZED_LR,
        tensorflow.PGGAN,
        tensorflow.STYLEGAN,
        nvidia.STYLEGAN2_ADA,
        nvidia.STYLEGAN3,
        nvidia.STYLEGAN_XL,
        nvidia.STYLEGAN_T,
        nvidia.EG3D,
        mat.MAT,
        rosinality.ROSINALITY_PROGRESSIVE,
        rosinality.ROSINALITY_STYLEGAN,
        stylegan2.ROSINALITY_STYLEGAN2,
        stylegan2.BASICSR,
        stylegan2.STYLEGAN2_TORCH,
        relatives.SWAGAN,
        relatives.LIA,
        relatives.FLOAT,
        relatives.STYLESWIN,
        mmgen.MMGEN,
        progressive.PRO_GAN_PTH,
        progressive.GAN_ZOO,
        genforce.GENFORCE,
        alae.ALAE,
        self_describing.IMAGINAIRE,
        self_describing.OT_VAE,
    )
}
