"""The optimizer's side: equalized learning rates of plain weights, at no cost in forward.

>>> net = init_(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1)))
>>> optimizer = implicit(torch.optim.Adam, net, lr=1e-3)
"""

from equalized_lr.optim.add_parameters import add_parameters
from equalized_lr.optim.clip import clip_grad_norm_
from equalized_lr.optim.explicit_rates import explicit_rates
from equalized_lr.optim.implicit import implicit
from equalized_lr.optim.init import init_
from equalized_lr.optim.lreqadam import LREQAdam
from equalized_lr.optim.param_groups import param_groups
from equalized_lr.optim.register import forms_apart, register
from equalized_lr.optim.scaled_steps import ScaledSteps
from equalized_lr.optim.spread import OtherSpread

__all__ = [
    "LREQAdam",
    "OtherSpread",
    "ScaledSteps",
    "add_parameters",
    "clip_grad_norm_",
    "explicit_rates",
    "forms_apart",
    "implicit",
    "init_",
    "param_groups",
    "register",
]
