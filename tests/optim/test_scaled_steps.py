"""`ScaledSteps` with closures, scalers, schedulers, state_dicts, exceptions and copies."""

import copy
import pickle

import pytest
import torch
from torch import nn, optim
from torch.optim.lr_scheduler import ExponentialLR

from equalized_lr import equalize_lr, errors
from equalized_lr.handover.scaled_steps import stored_steps_of
from equalized_lr.optim import ScaledSteps, clip_grad_norm_
from tests.support.assertions import assert_equal
from tests.support.trajectories import distance, explicit_of, fixed, loss_of, train

POWERS = {"0.weight": 0.25, "3.weight": 0.0625, "5.weight": 4.0}


class Signs(optim.Optimizer):
    """An optimizer that nobody here wrote a row for: steps by the sign of an average gradient."""

    def __init__(self, params, lr=0.01):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    average = self.state[p].setdefault("average", torch.zeros_like(p))
                    average.mul_(0.9).add_(p.grad)
                    p.sub_(average / (average.norm() + 0.1), alpha=group["lr"])


def pair(kind=Signs, scales=None, **numbers):
    """The explicit form and the plain one under `ScaledSteps`, each with its optimizer."""
    net, given = fixed()
    explicit = explicit_of(net, scales or given)
    theirs, ours = kind(explicit.parameters(), **numbers), kind(net.parameters(), **numbers)
    return explicit, theirs, net, ours, ScaledSteps(ours, net, scales or given)


def test_any_optimizer():
    """One without a row follows the explicit trajectory."""
    explicit, theirs, net, ours, _ = pair()
    train(explicit, theirs)
    train(net, ours)
    assert distance(net, explicit) < 1e-13
    plain, _ = fixed()
    train(plain, Signs(plain.parameters()))
    assert distance(plain, explicit) > 1e-3


def test_closures():
    """The closure sees plain weights, any number of times, and its gradients are those used."""
    explicit, theirs, net, ours, _ = pair(optim.LBFGS, POWERS, lr=0.1, max_iter=5)
    for model, optimizer in ((explicit, theirs), (net, ours)):

        def closure(model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = loss_of(model, 0)
            loss.backward()
            return loss

        for _ in range(3):
            optimizer.step(closure)
    assert distance(net, explicit) < 1e-12  # matrix products of unaligned memory, amplified


def test_gradients_are_left_as_they_were():
    """After the step, the gradients are the plain ones, in the same tensors."""
    _, _, net, ours, _ = pair()
    loss_of(net, 0).backward()
    before = [(p.grad, p.grad.clone()) for p in net.parameters()]
    ours.step()
    for p, (gradient, value) in zip(net.parameters(), before, strict=True):
        assert p.grad is gradient
        assert_equal(gradient, value)


@pytest.mark.parametrize("first", ["scheduler", "scaled steps"])
def test_schedulers(first):
    """Made before or after: the rate falls, no warning, the explicit trajectory."""
    net, scales = fixed()
    explicit = explicit_of(net, scales)
    optimizers = [Signs(explicit.parameters()), Signs(net.parameters())]
    if first == "scaled steps":
        ScaledSteps(optimizers[1], net, scales)
    schedules = [ExponentialLR(optimizer, 0.9) for optimizer in optimizers]
    if first == "scheduler":
        ScaledSteps(optimizers[1], net, scales)
    for model, optimizer, schedule in zip((explicit, net), optimizers, schedules, strict=True):
        train(model, optimizer, after=schedule.step)
    assert distance(net, explicit) < 1e-13
    assert optimizers[1].param_groups[0]["lr"] < 1e-4


def test_gradient_scaling():
    """GradScaler unscales before the step, and skips it where gradients overflow."""
    explicit, theirs, net, ours, _ = pair(optim.SGD, POWERS, lr=0.1)
    for model, optimizer in ((explicit, theirs), (net, ours)):
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        for step in range(4):
            optimizer.zero_grad()
            before = [p.detach().clone() for p in model.parameters()]
            scaler.scale(loss_of(model, step) * (float("inf") if step == 2 else 1)).backward()
            scaler.step(optimizer)
            scaler.update()
            moved = any(not torch.equal(*p) for p in zip(model.parameters(), before, strict=True))
            assert moved == (step != 2)
        assert scaler.get_scale() == 2.0**9
    assert distance(net, explicit) == 0


def test_resuming():
    """The state is that of the explicit form, and loads into a second optimizer of any form."""
    explicit, theirs, net, ours, _ = pair(scales=POWERS)
    train(explicit, theirs, range(5))
    train(net, ours, range(5))
    for p, q in zip(net.parameters(), explicit.parameters(), strict=True):
        assert_equal(ours.state[p]["average"], theirs.state[q]["average"])
    twin = copy.deepcopy(net)
    again = Signs(twin.parameters())
    ScaledSteps(again, twin, POWERS)
    again.load_state_dict(theirs.state_dict())
    train(net, ours, range(5, 9))
    train(twin, again, range(5, 9))
    assert distance(twin, net) == 0


@pytest.mark.parametrize("error", [ArithmeticError, KeyboardInterrupt])
def test_exceptions(error):
    """From the optimizer or the closure: the weights and gradients are plain again."""
    _, _, net, ours, scaled = pair(optim.SGD, POWERS, lr=0.1)
    loss_of(net, 0).backward()
    before = [(p.detach().clone(), p.grad) for p in net.parameters()]

    def fail(*_):
        raise error

    with pytest.raises(error):
        ours.step(fail)
    handle = ours.register_step_pre_hook(fail)
    with pytest.raises(error):
        ours.step()
    with pytest.raises(error), scaled.stored():
        fail()
    for p, (value, gradient) in zip(net.parameters(), before, strict=True):
        assert_equal(p.detach(), value)
        assert p.grad is gradient
    handle.remove()
    ours.step()


def test_stored_coordinates_for_code_outside_of_the_step():
    """Inside, parameters and gradients are the stored ones; nested it is one."""
    explicit, _, net, _, scaled = pair(scales=POWERS)
    for model in (explicit, net):
        loss_of(model, 0).backward()
    with scaled.stored(), scaled.stored():
        for p, q in zip(net.parameters(), explicit.parameters(), strict=True):
            assert_equal(p.detach(), q.detach())
            assert_equal(p.grad, q.grad)


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, pickle.dumps], ids=["copy", "deepcopy", "pickle"]
)
def test_copies_are_refused(copied):
    """They would train differently without a word."""
    *_, ours, _ = pair()
    with pytest.raises(errors.NotCopyable, match="second one"):
        copied(ours)


def test_wrapped_optimizers():
    """What wraps an optimizer, as accelerate does, runs under its constants."""

    class Wrapper(optim.Optimizer):
        def __init__(self, optimizer):
            self.optimizer = optimizer

        @property
        def param_groups(self):
            return self.optimizer.param_groups

    _, theirs, net, ours, _ = pair(optim.SGD, POWERS)
    explicit = [p for group in theirs.param_groups for p in group["params"]]
    for p, q in zip(net.parameters(), explicit, strict=True):
        p.grad, q.grad = torch.ones_like(p), torch.ones_like(q)
    for p, c in stored_steps_of(ours).scales.items():
        index = next(i for i, q in enumerate(net.parameters()) if q is p)
        explicit[index].grad.mul_(c)
    expected = clip_grad_norm_(theirs, 1e9)
    torch.testing.assert_close(clip_grad_norm_(Wrapper(ours), 1e9), expected)


def test_closures_by_keyword_and_other_arguments():
    """A closure by keyword is one, too; what is not callable is passed on as it is."""
    _, _, net, ours, _ = pair(optim.SGD, POWERS, lr=0.1)
    before, seen = net[0].weight.detach().clone(), []
    ours.step(closure=lambda: seen.append(net[0].weight.detach().clone()))
    assert_equal(seen[0], before)
    with pytest.raises(TypeError, match="other"):
        ours.step(other=3)
    assert_equal(net[0].weight.detach(), before)


def test_mixed_and_equalized_models():
    """Equalized weights are stored already; a second ScaledSteps is refused."""
    net = nn.Sequential(nn.Linear(50, 8), nn.Linear(8, 2))
    equalize_lr(net[0])
    optimizer = Signs(net.parameters())
    scaled = ScaledSteps(optimizer, net)
    assert list(scaled.scales.values()) == [0.5]
    with pytest.raises(errors.InvalidArgument, match="without ScaledSteps"):
        ScaledSteps(optimizer, net)
    with pytest.raises(errors.InvalidArgument, match="plain names"):
        ScaledSteps(Signs(net.parameters()), net, {"0.weight_orig": 1.0})


def test_an_optimizer_of_some_parameters():
    """What it does not hold is not touched."""
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    scaled = ScaledSteps(Signs(net[0].parameters()), net)
    with scaled.stored():
        first, second = net[0].weight.detach().clone(), net[1].weight.detach().clone()
    assert_equal(net[0].weight.detach(), first * 0.5)
    assert_equal(net[1].weight.detach(), second)


def test_which_constants_count():
    """All but 1, which would be work for nothing."""
    layer = nn.Linear(4, 2)
    scales = {"weight": 2.0, "bias": 1.0}
    scaled_steps = ScaledSteps(optim.SGD(layer.parameters(), lr=0.1), layer, scales)
    assert scaled_steps.scales == {layer.weight: 2.0}


def test_a_second_one_is_refused_by_name():
    """The error names the optimizer."""
    layer = nn.Linear(4, 2)
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    ScaledSteps(optimizer, layer)
    with pytest.raises(
        errors.InvalidArgument, match="^optimizer='SGD' .*one without ScaledSteps.$"
    ):
        ScaledSteps(optimizer, layer)
