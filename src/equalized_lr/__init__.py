"""The equalized learning rate of Progressive Growing of GANs, for any PyTorch model.

>>> net = equalize_lr(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1)))
>>> optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
>>> net = remove_equalized_lr(net)
"""

from equalized_lr import errors
from equalized_lr.diagnostics import describe
from equalized_lr.fan import Fan, fans
from equalized_lr.hook import EqualizedLR
from equalized_lr.learning_speed import LearningSpeed
from equalized_lr.plain import plain_state_dict
from equalized_lr.scales import he_scales
from equalized_lr.window import cached
from equalized_lr.wrap import equalize_lr, is_equalized, remove_equalized_lr

__version__ = "0.1.0"

__all__ = [
    "EqualizedLR",
    "Fan",
    "LearningSpeed",
    "cached",
    "describe",
    "equalize_lr",
    "errors",
    "fans",
    "he_scales",
    "is_equalized",
    "plain_state_dict",
    "remove_equalized_lr",
]
