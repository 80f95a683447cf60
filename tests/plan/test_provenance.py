"""How operations hand on what a tensor owes to parameters: levels, degrees, constants, gains."""

import math

import pytest

from equalized_lr.plan.provenance import (
    Level,
    Operand,
    Provenance,
    contraction_of,
    derive,
    power_of,
    union,
)

W = Provenance(Level.LEARNED, {1: 1.0})
V = Provenance(Level.LEARNED, {2: 1.0})
X = Provenance(Level.INPUT)
NOISE = Provenance(Level.RANDOM)
TWO = Provenance(constant=2.0)


def through(name, *operands, size=12, power=1.0):
    """The result for operands of 12 elements, or as many as stand beside them."""
    pairs = [each if isinstance(each, tuple) else (12, each) for each in operands]
    return derive(name, [Operand(*each) for each in pairs], size, power)


def test_constants_multiply():
    """A number in a product is a constant; powers take it along."""
    doubled = through("mul", W, (1, TWO))
    assert (doubled.degrees, doubled.constant) == ({1: 1.0}, 2.0)
    assert through("div", W, (1, TWO)).constant == 0.5
    squared = through("square", doubled, power=2.0)
    assert (squared.degrees, squared.constant) == ({1: 2.0}, 4.0)
    inverse = through("rsqrt", squared, power=-0.5)
    assert (inverse.degrees, inverse.constant) == ({1: -1.0}, 0.5)
    assert math.isnan(through("mul", W, (1, Provenance(constant=0.0))).constant)


def test_degrees_add_up():
    """A weight over its norm has degree 0, whatever its constant."""
    norm = through("linalg_vector_norm", through("mul", W, (1, TWO)), size=3)
    unit = through("div", through("mul", W, (1, TWO)), (3, norm))
    assert (unit.degrees, unit.constant) == ({1: 0.0}, 1.0)
    assert math.isnan(through("tanh", W, power=None).degrees[1])


def test_sums():
    """Sums of equal degree and constant keep them; others are unknown, and activations end it."""
    assert through("add", W, V).degrees == {1: 1.0, 2: 1.0}
    doubled = through("mul", W, (1, TWO))
    assert math.isnan(through("add", W, doubled).constant)
    rounded = through("mul", W, (1, Provenance(constant=2 + 1e-7)))
    assert through("add", doubled, rounded).constant == 2.0
    squared = through("square", W, power=2.0)
    assert math.isnan(through("add", W, squared).degrees[1])
    assert through("add", W, X) == X
    assert through("add", W, NOISE) == Provenance(Level.RANDOM, {1: 1.0})


def test_gains():
    """What is stretched over another weight, or over an activation, is no weight."""
    assert through("mul", W, (3, V)).degrees == {1: 1.0}
    assert through("mul", (3, W), (4, V)).degrees == {1: 1.0, 2: 1.0}
    gain = through("mul", (3, W), X)
    assert (gain.faint, gain.is_weight) == (True, False)
    assert through("mul", W, X).faint
    assert through("mul", W, NOISE).is_weight
    modulated = through("mul", W, (6, X), size=24)
    assert (modulated.is_weight, modulated.level, modulated.spread) == (True, Level.INPUT, 4.0)
    assert modulated.is_modulated
    assert not W.is_modulated


def test_ends():
    """Look-ups and positive functions end it, and what is overwritten does not count."""
    assert through("embedding", W) == Provenance(Level.LEARNED)
    assert through("exp", W, power=None) == Provenance(Level.LEARNED)
    assert through("copy", X, W) == W
    assert through("_weight_norm_interface", W, V).degrees == {1: 1.0}


def test_indices():
    """Indices from the input choose among weights, and add nothing to them."""
    chosen = derive("index", [Operand(12, W), Operand(2, X, floating=False)], 6, 1.0)
    assert (chosen.is_weight, chosen.level) == (True, Level.INPUT)


def test_contractions():
    """Their results are faint, but a weight times itself is a weight; activations end it."""
    out = contraction_of(X, W, W)
    assert (out.degrees, out.faint, out.level) == ({1: 1.0}, True, Level.INPUT)
    assert contraction_of(W, W, None) == Provenance(Level.LEARNED, {1: 2.0})
    mixed = contraction_of(W, V, V)
    assert (mixed.degrees, mixed.faint) == ({2: 1.0}, True)
    assert contraction_of(contraction_of(TWO, W, W), W, W).faint
    assert contraction_of(W, V, None) == Provenance(Level.LEARNED)
    assert contraction_of(out, out, None) == X
    assert through("relu", out).faint


@pytest.mark.parametrize(("first", "second"), [(TWO, W), (W, TWO)])
def test_writing(first, second):
    """Memory in which a part is a weight holds a weight; with an activation in it, none."""
    assert union(first, second).degrees == {1: 1.0}
    assert union(first, X) == X


def test_powers():
    """Views and linear operations have degree 1, functions of no degree have none."""
    assert power_of("any", (), view=True) == power_of("sum", (), view=False) == 1.0
    assert power_of("pow", (None, 3), view=False) == 3.0
    assert power_of("pow", (None, None), view=False) is None
    assert power_of("rsqrt", (), view=False) == -0.5
    assert power_of("tanh", (), view=False) is None
