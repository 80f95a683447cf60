"""One learning rate that means the same for every layer: equalized learning rates for PyTorch.

    equalize_lr          lets layers compute with c * weight_orig; remove_equalized_lr gives back
    translate_lr         the rate that does what a plain rate does to the plain model
    observe, fans        how many connections each weight makes: as seen in use, as known by class
    he_scales            the constant c of every weight, by name
    describe             every weight: its fan, its c, its spread, and what looks odd
    LearningSpeed        how fast each layer learns, while it trains
    is_equalized, cached, plain_state_dict, errors

`equalized_lr.optim` has the same without hooks, by translated optimizers: implicit, init_,
param_groups, LREQAdam, ScaledSteps, clip_grad_norm_, explicit_rates. `equalized_lr.checkpoint` has
the weights of other code bases: to_plain, from_plain, families.

>>> net = equalize_lr(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1)))
>>> optimizer = torch.optim.Adam(net.parameters(), lr=translate_lr(net, 1e-3))
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
