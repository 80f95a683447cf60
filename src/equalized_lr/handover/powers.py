"""What becomes of an optimizer's numbers when its parameter is multiplied by c: the table.

The explicit form trains w, and the layer computes with ŵ = c w. The implicit form trains ŵ itself.
By the chain rule the gradients are related by g = c ĝ, where g is that of w. Put both into an
update rule, ask that ŵ = c w stay true, and every number of the optimizer gets a power of c: the
hyper-parameters H' = c**k H, the state S' = c**k S. `docs/optimizers.md` has the derivation, and
beside each optimizer the error that was measured over 50 steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import optim
from torch.optim import Optimizer

from equalized_lr.errors import UnknownOptimizer
from equalized_lr.optional import MUON

Power = int | tuple[int, ...]

# What schedulers keep in a group is a learning rate, too.
RATES = ("lr", "initial_lr", "max_lr", "min_lr", "swa_lr")


@dataclass(frozen=True)
class Powers:
    """The powers of c of one optimizer class, as for `register`: from w to ŵ, new = c**k * old.

    A state whose key is not here is refused, never guessed. With `by_scale` the optimizer itself
    multiplies its steps by the c of the group.
    """

    lr: int
    state: Mapping[str, int]
    others: Mapping[str, Power] = field(default_factory=dict)
    decoupled: bool = False
    by_scale: bool = False

    def of_group(self, group: Mapping[str, Any]) -> dict[str, Power]:
        """The powers of all hyper-parameters of one group; a tuple for a tuple."""
        # Decoupled, lr * weight_decay stays as it is; otherwise weight_decay adds to the gradient.
        decoupled = group.get("decoupled_weight_decay", self.decoupled)
        decay = -self.lr if decoupled else -2
        return {**dict.fromkeys(RATES, self.lr), "weight_decay": decay, **self.others}

    def at_start(self) -> "Powers":
        """Those for numbers as a user gives them; an optimizer that knows c takes them as given."""
        return replace(self, others={"weight_decay": 0}) if self.by_scale else self


_ADAM = {"step": 0, "exp_avg": -1, "exp_avg_sq": -2, "max_exp_avg_sq": -2}
_NADAM = {"step": 0, "exp_avg": -1, "exp_avg_sq": -2, "mu_product": 0}
_RMSPROP = {"step": 0, "square_avg": -2, "grad_avg": -1, "momentum_buffer": 0}
_ADADELTA = {"step": 0, "square_avg": -2, "acc_delta": -2}
_ADAFACTOR = {"step": 0, "row_var": -2, "col_var": -2, "variance": -2}
_ASGD = {"step": 0, "eta": 2, "mu": 0, "ax": 1}
_RPROP = {"step": 0, "prev": -1, "step_size": 1}
_EPS = {"eps": -1}

POWERS: dict[type[Optimizer], Powers] = {
    optim.SGD: Powers(lr=2, state={"momentum_buffer": -1}),
    optim.Adam: Powers(lr=1, others=_EPS, state=_ADAM),
    optim.AdamW: Powers(lr=1, others=_EPS, state=_ADAM, decoupled=True),
    optim.NAdam: Powers(lr=1, others=_EPS, state=_NADAM),
    # From its sixth step on or so; before, lr has the power 2: see `has_no_powers`.
    optim.RAdam: Powers(lr=1, others=_EPS, state=_ADAM),
    optim.Adamax: Powers(lr=1, others=_EPS, state={"step": 0, "exp_avg": -1, "exp_inf": -1}),
    optim.Adagrad: Powers(lr=1, others=_EPS, state={"step": 0, "sum": -2}),
    optim.RMSprop: Powers(lr=1, others=_EPS, state=_RMSPROP),
    optim.Adadelta: Powers(lr=2, others={"eps": -2}, state=_ADADELTA),
    optim.Rprop: Powers(lr=1, others={"step_sizes": (1, 1)}, state=_RPROP),
    optim.ASGD: Powers(lr=2, others={"lambd": -2}, state=_ASGD),
    optim.SparseAdam: Powers(lr=1, others=_EPS, state=_ADAM),
    # Where its first eps is zero: see `has_no_powers`.
    optim.Adafactor: Powers(lr=0, others={"eps": (0, 1)}, state=_ADAFACTOR, decoupled=True),
}
if MUON is not None:
    POWERS[MUON] = Powers(lr=1, others=_EPS, state={"momentum_buffer": -1}, decoupled=True)


def powers_of(optimizer_class: type[Optimizer]) -> Powers:
    """The powers of a class; not those of its base, whose rule it may have changed."""
    powers = POWERS.get(optimizer_class)
    if powers is None:
        raise UnknownOptimizer(optimizer_class.__name__)
    return powers


def has_no_powers(optimizer_class: type[Optimizer], group: Mapping[str, Any]) -> str | None:
    """Why no powers of c make this group exact, so that it runs on stored weights; else None."""
    if optimizer_class is optim.RAdam:
        return "its first steps are those of SGD with momentum, whose lr has another power"
    if optimizer_class is optim.Adafactor and group["eps"][0] != 0:
        return "it uses eps[0] once as a square and once as it is, which need different powers"
    return None


def times_power(value: Any, c: float, power: Power, direction: int = 1) -> Any:
    """c**(k * direction) * value; each element of a tuple has its own k."""
    if isinstance(power, tuple):
        pairs = zip(value, power, strict=True)
        return tuple(times_power(v, c, k, direction) for v, k in pairs)
    exponent = power * direction
    # Divided where the power is negative, so that a way there and back is exact where it can be.
    return value * c**exponent if exponent >= 0 else value / c**-exponent
