"""The rule tables, one file for each source of code."""

from equalized_lr.checkpoint.families.alae import ALAE
from equalized_lr.checkpoint.families.genforce import GENFORCE
from equalized_lr.checkpoint.families.mat import MAT
from equalized_lr.checkpoint.families.mmgen import MMGEN
from equalized_lr.checkpoint.families.nvidia import (
    EG3D,
    STYLEGAN2_ADA,
    STYLEGAN3,
    STYLEGAN_T,
    STYLEGAN_XL,
)
from equalized_lr.checkpoint.families.own import EQUALIZED_LR
from equalized_lr.checkpoint.families.progressive import GAN_ZOO, PRO_GAN_PTH
from equalized_lr.checkpoint.families.relatives import FLOAT, LIA, STYLESWIN, SWAGAN
from equalized_lr.checkpoint.families.rosinality import (
    ROSINALITY_PROGRESSIVE,
    ROSINALITY_STYLEGAN,
)
from equalized_lr.checkpoint.families.self_describing import IMAGINAIRE, OT_VAE
from equalized_lr.checkpoint.families.stylegan2 import (
    BASICSR,
    ROSINALITY_STYLEGAN2,
    STYLEGAN2_TORCH,
)
from equalized_lr.checkpoint.families.tensorflow import PGGAN, STYLEGAN

FAMILIES = {
    family.name: family
    for family in (
        EQUALIZED_LR,
        PGGAN,
        STYLEGAN,
        STYLEGAN2_ADA,
        STYLEGAN3,
        STYLEGAN_XL,
        STYLEGAN_T,
        EG3D,
        MAT,
        ROSINALITY_PROGRESSIVE,
        ROSINALITY_STYLEGAN,
        ROSINALITY_STYLEGAN2,
        BASICSR,
        STYLEGAN2_TORCH,
        SWAGAN,
        LIA,
        FLOAT,
        STYLESWIN,
        MMGEN,
        PRO_GAN_PTH,
        GAN_ZOO,
        GENFORCE,
        ALAE,
        IMAGINAIRE,
        OT_VAE,
    )
}
