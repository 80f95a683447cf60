"""The table of powers, and numbers times a power of c."""

import pytest
from torch import optim

from equalized_lr import errors
from equalized_lr.handover.powers import POWERS, has_no_powers, powers_of, times_power


@pytest.mark.parametrize("power", [-2, -1, 0, 1, 2, (0, 1)])
def test_there_and_back(power):
    """A power of two comes back to the bit, and so does each element of a tuple."""
    value = (0.3, 0.7) if isinstance(power, tuple) else 0.3
    there = times_power(value, 0.125, power)
    assert times_power(there, 0.125, power, -1) == value
    assert (there == value) == (power == 0)


def test_weight_decay_in_both_ways():
    """Added to the gradient it has the power -2; decoupled, lr times decay stays as it is."""
    adam = POWERS[optim.Adam]
    assert adam.of_group({})["weight_decay"] == -2
    assert adam.of_group({"decoupled_weight_decay": True})["weight_decay"] == -1
    assert POWERS[optim.AdamW].of_group({})["weight_decay"] == -1
    assert adam.of_group({})["initial_lr"] == adam.of_group({})["lr"] == 1


def test_nothing_is_inherited():
    """A subclass may have changed the rule."""
    with pytest.raises(errors.UnknownOptimizer, match="Changed"):
        powers_of(type("Changed", (optim.Adam,), {}))


def test_what_has_no_powers():
    """RAdam always, Adafactor where it clamps, nothing else."""
    assert has_no_powers(optim.RAdam, {})
    assert has_no_powers(optim.Adafactor, {"eps": (1e-3, 0.1)})
    assert not has_no_powers(optim.Adafactor, {"eps": (0.0, 0.1)})
    assert not any(
        has_no_powers(kind, {}) for kind in POWERS if kind not in (optim.RAdam, optim.Adafactor)
    )
