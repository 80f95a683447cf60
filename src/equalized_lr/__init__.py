"""The equalized learning rate of Progressive Growing of GANs, for any PyTorch model.

>>> net = equalize_lr(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1)))
>>> optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
>>> net = remove_equalized_lr(net)
"""

from equalized_lr import errors
from equalized_lr.equalize import equalize_lr, is_equalized, remove_equalized_lr
from equalized_lr.errors import LeftAlone
from equalized_lr.layer.caching import cached
from equalized_lr.layer.hook import EqualizedLR
from equalized_lr.layer.state_dict import plain_state_dict
from equalized_lr.plan.fan import Fan, fans
from equalized_lr.plan.observe import observe
from equalized_lr.plan.scales import he_scales, translate_lr
from equalized_lr.watch.description import describe
from equalized_lr.watch.learning_speed import LearningSpeed

__version__ = "0.1.0"

__all__ = [
    "EqualizedLR",
    "Fan",
    "LearningSpeed",
    "LeftAlone",
    "cached",
    "describe",
    "equalize_lr",
    "errors",
    "fans",
    "he_scales",
    "is_equalized",
    "observe",
    "plain_state_dict",
    "remove_equalized_lr",
    "translate_lr",
]
