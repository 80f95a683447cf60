"""Training in two forms side by side, and how far apart the effective weights come."""

import copy
import math

import pytest
import torch
from hypothesis import strategies as st
from torch import nn, optim

from equalized_lr import equalize_lr
from equalized_lr.optim import implicit
from equalized_lr.optional import MUON

STEPS = 50
# Every number that has a power of c is large enough to matter: a wrong power is then seen.
DECAY = {"weight_decay": 0.1}
SETTINGS = {
    "SGD": (optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.1, **DECAY}),
    "Adam": (optim.Adam, {"lr": 0.01, "eps": 1e-2, **DECAY}),
    "Adam, amsgrad": (optim.Adam, {"lr": 0.01, "eps": 1e-2, "amsgrad": True}),
    "AdamW": (optim.AdamW, {"lr": 0.01, "eps": 1e-2, **DECAY}),
    "NAdam": (optim.NAdam, {"lr": 0.01, "eps": 1e-2, **DECAY}),
    "RAdam": (optim.RAdam, {"lr": 0.01, "eps": 1e-2, **DECAY}),
    "RAdam, decoupled": (optim.RAdam, {"lr": 0.01, "decoupled_weight_decay": True, **DECAY}),
    "Adamax": (optim.Adamax, {"lr": 0.01, "eps": 1e-2, **DECAY}),
    "Adagrad": (
        optim.Adagrad,
        {"lr": 0.05, "eps": 1e-2, "initial_accumulator_value": 0.1, "lr_decay": 0.01, **DECAY},
    ),
    "RMSprop": (optim.RMSprop, {"lr": 0.01, "eps": 1e-2, "momentum": 0.5, **DECAY}),
    "RMSprop, centered": (optim.RMSprop, {"lr": 0.01, "eps": 1e-2, "centered": True}),
    "Adadelta": (optim.Adadelta, {"lr": 1.0, "eps": 1e-3, **DECAY}),
    "Rprop": (optim.Rprop, {"lr": 0.01, "step_sizes": (5e-3, 0.02)}),
    "ASGD": (optim.ASGD, {"lr": 0.1, "lambd": 0.1, "t0": 10, **DECAY}),
    "Adafactor": (optim.Adafactor, {"lr": 0.05, "eps": (0.0, 0.5), **DECAY}),
    "Adafactor, clamped": (optim.Adafactor, {"lr": 0.05, "eps": (1e-2, 0.5), **DECAY}),
}
if MUON is not None:
    SETTINGS["Muon"] = (MUON, {"lr": 0.01, "eps": 0.05, **DECAY})

SAMPLE = ("SGD", "Adam")


def case(name, *values, key=""):
    """The case of one setting; without `-m slow` only those of the sample run."""
    marks = () if name in SAMPLE else pytest.mark.slow
    return pytest.param(*values, id=f"{name}-{key}" if key else name, marks=marks)


each_setting = pytest.mark.parametrize(
    ("kind", "numbers"), [case(name, *values) for name, values in SETTINGS.items()]
)

# What a row may be given; each example draws one of each.
OPTIONS = {
    optim.SGD: {"lr": [0.01, 0.05], "momentum": [0.0, 0.9], "dampening": [0.0, 0.5]},
    optim.Adam: {"lr": [1e-3, 0.01], "eps": [1e-8, 1e-3], "amsgrad": [False, True]},
    optim.AdamW: {
        "lr": [1e-3, 0.01],
        "betas": [(0.0, 0.99), (0.9, 0.999)],
        "foreach": [None, True],
    },
    optim.NAdam: {"lr": [1e-3, 0.01], "decoupled_weight_decay": [False, True]},
    optim.RAdam: {"lr": [1e-3, 0.01], "betas": [(0.9, 0.999), (0.5, 0.7), (0.9, 0.6)]},
    optim.Adamax: {"lr": [1e-3, 0.01], "eps": [1e-8, 1e-3]},
    optim.Adagrad: {"lr": [1e-3, 0.05], "initial_accumulator_value": [0.0, 0.1]},
    optim.RMSprop: {"lr": [1e-3, 0.01], "momentum": [0.0, 0.5], "centered": [False, True]},
    optim.Adadelta: {"lr": [0.5, 1.0], "rho": [0.5, 0.9]},
    optim.ASGD: {"lr": [0.01, 0.05], "lambd": [1e-4, 0.1], "t0": [10, 1e6]},
    optim.Adafactor: {"lr": [0.01, 0.05], "eps": [(0.0, 1e-3), (1e-3, 0.1)]},
}


@st.composite
def optimizers(draw, classes=tuple(OPTIONS)):
    """An optimizer class and hyper-parameters for it."""
    kind = draw(st.sampled_from(classes))
    options = {"weight_decay": [0.0, 0.05], "maximize": [False, True], **OPTIONS[kind]}
    return kind, {key: draw(st.sampled_from(values)) for key, values in options.items()}


constants = st.floats(math.log(1e-2), math.log(3.0)).map(math.exp)
powers_of_two = st.integers(-6, 1).map(lambda k: 2.0**k)


@st.composite
def networks(draw, constants=constants, dtype=torch.float64):
    """A small plain network of effective weights of size 1, and a constant for each weight."""
    torch.manual_seed(draw(st.integers(0, 1000)))
    widths = draw(st.lists(st.integers(1, 6), min_size=2, max_size=4))
    layers = [nn.Conv1d(2, widths[0], 3, bias=draw(st.booleans())), nn.Tanh(), nn.Flatten()]
    sizes = zip([4 * widths[0], *widths[1:]], widths[1:], strict=False)
    for into, out in sizes:
        layers += [nn.Linear(into, out, bias=draw(st.booleans())), nn.Tanh()]
    net = nn.Sequential(*layers[:-1]).to(dtype)
    names = [name for name, _ in net.named_parameters() if name.endswith("weight")]
    return net, {name: draw(constants) for name in names}


def batch(net, step):
    """A batch of its own for each step, the same in all forms."""
    generator = torch.Generator().manual_seed(step)
    dtype = next(net.parameters()).dtype
    return torch.randn(8, 2, 6, generator=generator, dtype=torch.float64).to(dtype)


def loss_of(net, step):
    """Smooth and bounded: where training explodes, rounding does too."""
    output = net(batch(net, step))
    return output.sin().mean() + output.cos().mean()


def fixed(dtype=torch.float64):
    """The network and constants of the deterministic tests: layers of very different c."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv1d(2, 5, 3), nn.Tanh(), nn.Flatten(), nn.Linear(20, 6), nn.Tanh(), nn.Linear(6, 3)
    ).to(dtype)
    return net, {"0.weight": 0.35, "3.weight": 0.07, "3.bias": 0.2, "5.weight": 3.7}


def explicit_of(net, scales):
    """A copy that computes with c * weight_orig, and the same function."""
    copied = copy.deepcopy(net)
    for name, c in scales.items():
        path, _, own = name.rpartition(".")
        equalize_lr(copied.get_submodule(path), own, fan=1, gain=c, init="keep")
    return copied


def trainable(kind, net):
    """The parameters that a class can train: Muon takes matrices only."""
    return [p for p in net.parameters() if kind is not MUON or p.ndim == 2]


def explicit_optimizer(kind, net, settings):
    return kind(trainable(kind, net), **settings)


def implicit_optimizer(kind, net, settings, scales):
    return implicit(kind, net, scales=scales, params=trainable(kind, net), **settings)


def train(net, optimizer, steps=range(STEPS), *, accumulate=1, after=None):
    """Steps of an optimizer, each on `accumulate` batches."""
    for step in steps:
        optimizer.zero_grad()
        for part in range(accumulate):
            (loss_of(net, 100 * part + step) / accumulate).backward()
        optimizer.step()
        if after is not None:
            after()


def effective(net):
    """All parameters as the network computes with them, by plain name."""
    return {
        f"{path}.{name.removesuffix('_orig')}": getattr(module, name.removesuffix("_orig")).detach()
        for path, module in net.named_modules()
        for name in module._parameters
        if module._parameters[name] is not None
    }


def distance(one, other):
    """The largest difference of two networks' effective weights, in relation to the largest."""
    ours, theirs = effective(one), effective(other)
    assert list(ours) == list(theirs)
    return max(
        ((ours[name] - value).abs().max() / value.abs().max().clamp(min=1e-300)).item()
        for name, value in theirs.items()
    )
