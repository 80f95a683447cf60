"""The gain of a nonlinearity, from its second moment."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from equalized_lr import equalize_lr, errors, he_scales
from equalized_lr.plan.gain import gain_of

# Second moments of f(z), z ~ N(0, 1), in closed form.
KNOWN = {
    "relu": (F.relu, 1 / 2),
    "relu in place": (nn.ReLU(inplace=True), 1 / 2),
    "leaky relu": (nn.LeakyReLU(0.2), (1 + 0.2**2) / 2),
    "prelu": (nn.PReLU(), (1 + 0.25**2) / 2),
    "identity": (nn.Identity(), 1.0),
    "square": (torch.square, 3.0),
    "sign": (torch.sign, 1.0),
    "exp": (torch.exp, math.exp(2)),
    "sin": (torch.sin, (1 - math.exp(-2)) / 2),
    "fast sin": (lambda z: torch.sin(40 * z), 1 / 2),  # less e^-3200 / 2
    "erf": (torch.erf, 2 / math.pi * math.asin(2 / 3)),
    "step at 1/3": (lambda z: (z > 1 / 3).double(), math.erfc(1 / 3 / math.sqrt(2)) / 2),
    "in evaluation": (nn.Sequential(nn.ReLU(), nn.Dropout()).eval(), 1 / 2),
}


@pytest.mark.parametrize(("function", "moment"), KNOWN.values(), ids=KNOWN)
def test_known_moments(function, moment):
    """Kinks, jumps and growth are integrated to twelve digits."""
    assert gain_of(function) == pytest.approx(moment**-0.5, rel=1e-12)


@pytest.mark.parametrize("function", [F.gelu, nn.SiLU(), F.mish, F.softplus, torch.tanh])
def test_smooth_functions(function):
    """The trapezoidal rule, which converges exponentially here, finds the same."""
    z = torch.arange(-14, 14, 1 / 64, dtype=torch.float64)
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    moment = (function(z).square() * density).sum().item() / 64
    # softplus gives up its logarithm above 20, and is rounded there.
    assert gain_of(function) == pytest.approx(moment**-0.5, rel=1e-9)


def test_a_function_of_single_precision():
    """What rounds its values is integrated as well as they are known."""
    assert gain_of(lambda z: F.relu(z.float())) == pytest.approx(math.sqrt(2), rel=1e-6)
    assert gain_of(lambda z: F.relu(z.bfloat16())) == pytest.approx(math.sqrt(2), rel=1e-3)


def test_tails_on_one_side():
    """Growth is seen wherever it is."""
    for side in (1, -1):
        with pytest.raises(errors.InvalidArgument, match="does not converge"):
            gain_of(lambda z, side=side: torch.exp((side * z).clamp(min=0).square() / 3))


def test_unit_responses_stay_unit_responses():
    """A layer with this gain that reads f of them gives such ones; with sqrt(2) it does not."""
    z = torch.randn(2000, 400, dtype=torch.float64)
    for gain, kept in ((F.gelu, True), (math.sqrt(2), False)):
        layer = equalize_lr(nn.Linear(400, 4000, dtype=torch.float64), gain=gain)
        # 4000 rows of 400 draws: the standard error of the moment is half a percent.
        assert (abs(layer(F.gelu(z)).square().mean().item() - 1) < 0.03) == kept


def test_in_public_calls():
    """The nonlinearity itself stands for the number."""
    layer = nn.Linear(4, 4)
    assert he_scales(layer, gain=F.relu)["weight"] == pytest.approx(math.sqrt(2) / 2, rel=1e-12)
    expected = he_scales(layer, gain=gain_of(F.gelu))
    assert he_scales(equalize_lr(layer, gain=F.gelu)) == expected


class Counter(nn.Module):
    """A linear map that counts its calls."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        return 2 * x


REFUSED = {
    "dropout": (nn.Dropout(), "random or keeps a state"),
    "functional dropout": (F.dropout, "random or keeps a state"),
    "stateful": (Counter(), "random or keeps a state"),
    "batch norm": (nn.BatchNorm1d(5), "fails on a vector of float64"),
    "linear": (nn.Linear(3, 3), "fails on a vector of float64"),
    "softmax": (nn.Softmax(0), "does not map each element"),
    "centred": (lambda z: z - z.mean(), "does not map each element"),
    "reversed": (lambda z: z.flip(0), "does not map each element"),
    "sum": (torch.sum, "does not map each element"),
    "class": (nn.SiLU, "returns no real numbers, but SiLU"),
    "complex": (lambda z: z + 1j, "returns no real numbers"),
    "boolean": (lambda z: z > 0, "returns no real numbers"),
    "logarithm": (torch.log, "not finite"),
    "zero": (torch.zeros_like, "second moment is 0"),
    "reciprocal": (lambda z: 1 / (z + math.pi / 9), "not finite"),
    "explosive": (lambda z: torch.exp(z * z / 3), "does not converge"),
    "without values": (nn.PReLU(device="meta"), "cannot be copied"),
}


@pytest.mark.parametrize(("function", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_nonlinearity(function, reason):
    """It is refused with the reason, and the layer is left as it was."""
    layer = nn.Linear(4, 4)
    with pytest.raises(errors.InvalidArgument, match=r"^gain=") as refusal:
        equalize_lr(layer, gain=function)
    assert reason in str(refusal.value)
    assert "torch.nn.functional.gelu or nn.SiLU()" in str(refusal.value)
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]


def test_nothing_changes():
    """Neither the module, its buffers and precision, nor torch's random state."""
    counter, state = Counter(), torch.get_rng_state()
    for module in (counter, nn.Dropout()):
        with pytest.raises(errors.InvalidArgument):
            gain_of(module)
    assert counter.calls == 0
    gain_of(prelu := nn.PReLU())
    assert prelu.weight.dtype is torch.float32
    assert torch.equal(torch.get_rng_state(), state)
