"""What hooks and closures see while an optimizer steps on stored weights, and what stays."""

import copy

import pytest
import torch
from torch import nn, optim
from torch.optim.optimizer import register_optimizer_step_post_hook

from equalized_lr import equalize_lr, errors, remove_equalized_lr
from equalized_lr.handover.scaled_steps import StoredSteps, stored_steps_of
from equalized_lr.optim import ScaledSteps, implicit
from tests.support.assertions import assert_equal

C = 0.25


class Nested(optim.SGD):
    """Calls the step of its base, so that torch runs all hooks twice."""

    def step(self, closure=None):
        return super().step(closure)


class Unhooked(optim.Optimizer):
    """A wrapper that is an optimizer by its class only: torch runs no hooks of it."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    param_groups = property(lambda self: self.optimizer.param_groups)

    def step(self, closure=None):
        return self.optimizer.step(closure)


class Perturbed(optim.Optimizer):
    """As SAM: climbs, clears the gradients, computes them anew by its closure, steps from below."""

    def __init__(self, params, lr=0.1, rho=0.05):
        super().__init__(params, {"lr": lr, "rho": rho})

    @torch.no_grad()
    def step(self, closure):
        params = [p for group in self.param_groups for p in group["params"]]
        norm = torch.stack([p.grad.norm() for p in params if p.grad is not None]).norm()
        climbs = [(p, 0.05 * p.grad / norm) for p in params if p.grad is not None]
        for p, climb in climbs:
            p.add_(climb)
        self.zero_grad()
        with torch.enable_grad():
            loss = closure()
        for p, climb in climbs:
            p.sub_(climb)
            p.sub_(p.grad, alpha=0.1)
        return loss


def weight(values=(1.0, -2.0, 3.0), dtype=torch.float64):
    return nn.Parameter(torch.tensor(values, dtype=dtype))


def watched(optimizer, p):
    """What a pre and a post hook see of the parameter and its gradient."""
    views = []

    def look(*_):
        views.append((p.detach().clone(), p.grad.clone()))

    optimizer.register_step_pre_hook(look)
    optimizer.register_step_post_hook(look)
    return views


@pytest.mark.parametrize("hooks_first", [True, False])
@pytest.mark.parametrize(
    ("kind", "times"), [(optim.SGD, 1), (Nested, 2)], ids=["SGD", "a nested step"]
)
def test_hooks_see_effective_weights_and_gradients(kind, times, hooks_first):
    """Whichever came first, and also where torch runs them in the middle of a step."""
    p = weight()
    optimizer = kind([p], lr=1.0)
    views = watched(optimizer, p) if hooks_first else None
    StoredSteps(optimizer, {p: C})
    views = views if hooks_first else watched(optimizer, p)
    before, gradient = p.detach().clone(), torch.ones_like(p)
    p.grad = gradient.clone()
    optimizer.step()
    after = before - C**2 * gradient
    assert_equal(p.detach(), after)
    assert len(views) == 2 * times
    for value, seen in views[:times]:
        assert_equal(value, before)
        assert_equal(seen, gradient)
    for value, seen in views[times:]:
        assert_equal(value, after)
        assert_equal(seen, gradient)


def test_hooks_of_an_optimizer_in_a_wrapper():
    """They see effective weights too, though the wrapper is what steps on stored ones."""
    p = weight()
    inner = optim.SGD([p], lr=1.0)
    outer = Unhooked(inner)
    StoredSteps(outer, {p: C})
    views = watched(inner, p)
    before = p.detach().clone()
    p.grad = torch.ones_like(p)
    outer.step()
    assert_equal(views[0][0], before)
    assert_equal(views[1][0], before - C**2)
    assert_equal(p.detach(), before - C**2)


def test_an_optimizer_in_a_wrapper_that_steps_by_itself():
    """Its closures see effective weights, an exception leaves them, and copies are refused."""
    p = weight()
    inner, views = optim.SGD([p], lr=1.0), []
    StoredSteps(Unhooked(inner), {p: C})
    before, p.grad = p.detach().clone(), torch.ones_like(p)

    def fail():
        views.append(p.detach().clone())
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        inner.step(fail)
    assert_equal(views[0], before)
    assert_equal(p.detach(), before)
    inner.step()
    assert_equal(p.detach(), before - C**2)
    with pytest.raises(errors.NotCopyable):
        copy.deepcopy(inner)


def test_global_hooks():
    """Those that torch runs for every optimizer see effective weights."""
    p, views = weight(), []
    optimizer = optim.SGD([p], lr=1.0)
    StoredSteps(optimizer, {p: C})
    p.grad = torch.ones_like(p)
    handle = register_optimizer_step_post_hook(lambda *_: views.append(p.detach().clone()))
    try:
        optimizer.step()
    finally:
        handle.remove()
    assert_equal(views[0], p.detach())


@pytest.mark.parametrize("kind", [optim.SGD, Nested])
@pytest.mark.parametrize("where", ["a pre hook", "the closure", "a post hook"])
def test_an_exception_leaves_effective_values(kind, where):
    """Wherever it comes from, the next step is right again."""
    p = weight()
    optimizer = kind([p], lr=1.0)
    StoredSteps(optimizer, {p: C})

    def fail(*_):
        raise ArithmeticError

    before, p.grad = p.detach().clone(), torch.ones_like(p)
    register = {"a pre hook": "register_step_pre_hook", "a post hook": "register_step_post_hook"}
    handle = getattr(optimizer, register[where])(fail) if where in register else None
    with pytest.raises(ArithmeticError):
        optimizer.step(None if handle else fail)
    moved = C**2 if where == "a post hook" else 0.0
    assert_equal(p.detach(), before - moved)
    assert_equal(p.grad, torch.ones_like(p))
    if handle:
        handle.remove()
    optimizer.step()
    assert_equal(p.detach(), before - moved - C**2)


def test_a_step_within_stored_coordinates():
    """The block ends on stored weights whatever happens in it."""
    p = weight()
    optimizer = optim.SGD([p], lr=1.0)
    steps = StoredSteps(optimizer, {p: C})
    before, p.grad = p.detach().clone(), torch.ones_like(p)
    with steps.stored():
        optimizer.step()
        assert_equal(p.detach(), (before - C**2) / C)
    assert_equal(p.detach(), before - C**2)


@pytest.mark.parametrize("set_to_none", [True, False])
def test_a_closure_after_cleared_gradients(set_to_none):
    """SAM's step is that of the explicit form: the old gradient does not come back."""
    p, w = weight(), weight([4.0, -8.0, 12.0])
    ours, theirs = Perturbed([p]), Perturbed([w])
    StoredSteps(ours, {p: C})

    def closure(parameter, scale, optimizer):
        def compute():
            optimizer.zero_grad(set_to_none=set_to_none)
            loss = (scale * parameter).square().sum()
            loss.backward()
            return loss

        return compute

    for _ in range(3):
        for parameter, scale, optimizer in ((p, 1.0, ours), (w, C, theirs)):
            compute = closure(parameter, scale, optimizer)
            compute()
            optimizer.step(compute)
    assert_equal(p.detach(), C * w.detach())
    assert_equal(p.grad, w.grad / C)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_weights_that_do_not_step_keep_their_bits(dtype):
    """Frozen ones, those without gradient, and those whose gradient is zero, element by element."""
    torch.manual_seed(0)
    params = [nn.Parameter(torch.randn(1000).to(dtype)) for _ in range(4)]
    frozen, without, zero, rows = params
    frozen.requires_grad_(False)
    optimizer = optim.SGD(params, lr=1.0)
    StoredSteps(optimizer, dict.fromkeys(params, 0.0123))
    zero.grad, rows.grad = torch.zeros_like(zero), torch.zeros_like(rows)
    rows.grad[::2] = 1000.0
    before = [p.detach().clone() for p in params]
    for _ in range(5):
        optimizer.step()
    assert_equal(frozen.detach(), before[0])
    assert_equal(without.detach(), before[1])
    assert_equal(zero.detach(), before[2])
    assert_equal(rows.detach()[1::2], before[3][1::2])
    assert (rows.detach()[::2] != before[3][::2]).all()
    moved = [(p / 0.0123 * 0.0123 != p).float().mean() for p in before]  # what rounding would do
    assert dtype == torch.float32 or max(moved) > 0.1


def test_a_weight_that_does_not_fit_its_dtype():
    """Refused when it would first be divided, with nothing changed."""
    layer = nn.Linear(2, 2).half()
    nn.init.constant_(layer.weight, 100.0)
    before = layer.weight.detach().clone()
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    with pytest.raises(errors.Unscalable, match="shape"):
        ScaledSteps(optimizer, layer, {"weight": 1e-3})
    assert stored_steps_of(optimizer) is None
    assert "step" not in vars(optimizer)
    with pytest.raises(errors.Unscalable):
        implicit(optim.Adafactor, layer, scales={"weight": 1e-3})
    assert_equal(layer.weight.detach(), before)
    ScaledSteps(optimizer, layer, {"weight": 0.5})


class Lookahead(optim.Optimizer):
    """Wraps an optimizer, and every second step goes half the way to where that has come."""

    def __init__(self, optimizer, *, in_state):
        self.optimizer, self.count, self.in_state = optimizer, 0, in_state
        self.params = [p for group in optimizer.param_groups for p in group["params"]]
        self.slow = [p.detach().clone() for p in self.params]
        self.state = {p: {"slow": s} for p, s in zip(self.params, self.slow, strict=True)}
        if in_state:
            self.slow = [None] * len(self.slow)
        else:
            self.state = {}

    param_groups = property(lambda self: self.optimizer.param_groups)

    @torch.no_grad()
    def step(self, closure=None):
        self.optimizer.step(closure)
        self.count += 1
        if self.count % 2 == 0:
            for index, p in enumerate(self.params):
                slow = self.state[p]["slow"] if self.in_state else self.slow[index]
                slow.lerp_(p, 0.5)
                p.copy_(slow)


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def trained(net, optimizer, steps=4):
    for step in range(steps):
        x = torch.randn(8, 6, generator=torch.Generator().manual_seed(step)).double()
        net.zero_grad()
        net(x).sin().sum().backward()
        optimizer.step()
    return net


@pytest.mark.parametrize("in_state", [True, False])
def test_wrappers_that_keep_weights(in_state):
    """Wrapped after `ScaledSteps` a Lookahead is exact; the other way round it is refused."""
    explicit = equalize_lr(model(), init="keep")
    trained(explicit, Lookahead(optim.SGD(explicit.parameters(), lr=0.1), in_state=in_state))
    net = model()
    inner = optim.SGD(net.parameters(), lr=0.1)
    wrapper = Lookahead(inner, in_state=in_state)
    with pytest.raises(errors.KeepsValues, match="slow"):
        ScaledSteps(wrapper, net)
    assert stored_steps_of(wrapper) is None
    ScaledSteps(inner, net)
    trained(net, Lookahead(inner, in_state=in_state))
    for p, expected in zip(
        net.parameters(), remove_equalized_lr(explicit).parameters(), strict=True
    ):
        torch.testing.assert_close(p, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("in_state", [True, False])
def test_wrappers_that_keep_weights_at_a_hand_over(in_state):
    """What they have kept is of the form before: refused, and nothing changes."""
    net = model()
    inner = optim.SGD(net.parameters(), lr=0.1)
    ScaledSteps(inner, net)
    wrapper = Lookahead(inner, in_state=in_state)
    trained(net, wrapper)
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(errors.KeepsValues, match="slow"):
        equalize_lr(net, init="keep", optimizer=wrapper)
    assert {key: value.tolist() for key, value in net.state_dict().items()} == {
        key: value.tolist() for key, value in before.items()
    }
    equalize_lr(net, init="keep", optimizer=inner)


def test_an_optimizer_that_has_stepped_or_is_translated():
    """Its state is that of effective weights, or its numbers are: refused."""
    net = model()
    optimizer = optim.Adam(net.parameters())
    trained(net, optimizer)
    with pytest.raises(errors.KeepsValues, match="exp_avg"):
        ScaledSteps(optimizer, net)
    ScaledSteps(optimizer, net, scales={})
    with pytest.raises(errors.InvalidArgument, match="not translated"):
        ScaledSteps(implicit(optim.Adam, net, lr=0.1), net)
    ScaledSteps(optim.Adagrad(net.parameters(), initial_accumulator_value=0.5), net)


def test_a_parameter_that_joins_without_a_word():
    """Put into a group from outside, it is refused before anything moves."""
    net = model()
    optimizer = optim.SGD(net[0].parameters(), lr=0.1)
    ScaledSteps(optimizer, net)
    optimizer.param_groups[0]["params"].append(net[2].weight)
    before = net[2].weight.detach().clone()
    net(torch.ones(1, 6).double()).sum().backward()
    with pytest.raises(errors.UnknownScale):
        optimizer.step()
    assert_equal(net[2].weight.detach(), before)
