"""Laws 7 and 8 over whole lives of an optimizer, beside a twin that stays in the explicit form.

Random sequences of steps with and without closures, hooks, frozen weights, cleared gradients,
groups that join, schedules, clipping, saved states, and changes of form. After each the effective
weights of both are the same, and so is what the hooks saw.
"""

import copy

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from torch import nn, optim
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR

from equalized_lr import equalize_lr, is_equalized, remove_equalized_lr
from equalized_lr.optim import (
    ScaledSteps,
    add_parameters,
    clip_grad_norm_,
    explicit_rates,
    implicit,
)

NUMBERS = {"lr": 0.01, "weight_decay": 0.1}
SCHEDULES = [lambda o: StepLR(o, 2, 0.5), lambda o: CosineAnnealingLR(o, 5, eta_min=0.002)]


class Signed(optim.Optimizer):
    """Nobody here knows it; its step depends on the size of each whole gradient."""

    def __init__(self, params, lr=0.01, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        if closure is not None:
            with torch.enable_grad():
                closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    average = self.state[p].setdefault("average", torch.zeros_like(p))
                    average.mul_(0.5).add_(p.grad + group["weight_decay"] * p)
                    p.sub_(average / (average.norm() + 0.1), alpha=group["lr"])


KINDS = [optim.Adam, optim.SGD, optim.RAdam, optim.Adafactor, Signed]


def block(into, out):
    return nn.Sequential(nn.Linear(into, out), nn.Tanh()).double()


class Life:
    """A network, its optimizer, and what hooks have noted."""

    def __init__(self, net, optimizer):
        self.net, self.optimizer = net, optimizer
        self.schedule = self.make = None
        self.averages = {}

    def plain(self):
        net = copy.deepcopy(self.net)
        equalized = any(is_equalized(module) for module in net.modules())
        return remove_equalized_lr(net) if equalized else net

    def loss(self, seed):
        x = torch.randn(5, 4, generator=torch.Generator().manual_seed(seed)).double()
        output = self.net(x)
        return output.sin().mean() + output.cos().mean()

    def note(self, *_):
        """A post hook: an average of the effective weights."""
        for name, p in self.plain().named_parameters():
            old = self.averages.get(name, torch.zeros_like(p.detach()))
            self.averages[name] = 0.5 * old + p.detach()

    def halve(self, *_):
        """A pre hook that changes gradients."""
        for p in self.net.parameters():
            if p.grad is not None:
                p.grad.mul_(0.5)


class OptimizerLives(RuleBasedStateMachine):
    """One life changes its form, the other stays explicit."""

    @initialize(kind=st.sampled_from(KINDS), scaled=st.booleans(), seed=st.integers(0, 99))
    def begin(self, kind, scaled, seed):
        torch.manual_seed(seed)
        net = nn.Sequential(block(4, 3), block(3, 2))
        explicit = equalize_lr(copy.deepcopy(net), init="keep")
        self.twin = Life(explicit, kind(explicit.parameters(), **NUMBERS))
        if scaled or kind is Signed:
            optimizer = kind(net.parameters(), **NUMBERS)
            ScaledSteps(optimizer, net)
        else:
            optimizer = implicit(kind, net, **NUMBERS)
        self.life, self.form, self.step_seed = Life(net, optimizer), "plain", 0
        self.kind, self.scaled = kind, scaled

    def both(self, action):
        for life in (self.life, self.twin):
            action(life)

    @rule(clip=st.booleans())
    def step(self, clip):
        self.step_seed += 1

        def action(life):
            life.optimizer.zero_grad()
            life.loss(self.step_seed).backward()
            if clip:
                clip_grad_norm_(life.optimizer, 0.1)
            life.optimizer.step()

        self.both(action)

    @precondition(lambda self: self.kind is not optim.Adafactor)  # it takes no gradients for none
    @rule(index=st.integers(0, 3))
    def step_without_a_gradient(self, index):
        self.step_seed += 1

        def action(life):
            life.optimizer.zero_grad()
            life.loss(self.step_seed).backward()
            list(life.net.parameters())[index].grad = None
            life.optimizer.step()

        self.both(action)

    @rule()
    def step_with_a_closure(self):
        self.step_seed += 1

        def action(life):
            def closure():
                life.optimizer.zero_grad()
                loss = life.loss(self.step_seed)
                loss.backward()
                return loss

            life.optimizer.step(closure)

        self.both(action)

    @rule(index=st.integers(0, 3), trains=st.booleans())
    def freeze(self, index, trains):
        self.both(lambda life: list(life.net.parameters())[index].requires_grad_(trains))

    @rule()
    def hook(self):
        if not self.twin.averages:
            self.both(lambda life: life.optimizer.register_step_pre_hook(life.halve))
            self.both(lambda life: life.optimizer.register_step_post_hook(life.note))
            self.both(Life.note)

    @precondition(lambda self: len(self.twin.net) < 4 and self.twin.schedule is None)
    @rule()
    def grow(self):
        torch.manual_seed(len(self.twin.net))
        grown = block(2, 2)
        self.life.net.append(copy.deepcopy(grown))
        if self.form == "explicit":
            equalize_lr(self.life.net[-1], init="keep")
        add_parameters(self.life.optimizer, self.life.net)
        self.twin.net.append(equalize_lr(grown, init="keep"))
        self.twin.optimizer.add_param_group({"params": grown.parameters()})

    @rule(make=st.sampled_from(SCHEDULES))
    def schedule(self, make):
        def action(life):
            with explicit_rates(life.optimizer):
                if life.schedule is None:
                    life.make, life.schedule = make, make(life.optimizer)
                else:
                    life.schedule.step()

        if self.step_seed:
            self.step(clip=False)
            self.both(action)

    @rule()
    def save_and_load(self):
        self.both(
            lambda life: life.optimizer.load_state_dict(copy.deepcopy(life.optimizer.state_dict()))
        )

    @rule()
    def change_form(self):
        life = self.life
        done = life.schedule and life.schedule.last_epoch
        runs_scaled = self.scaled or self.kind not in (optim.Adam, optim.SGD)
        if life.schedule and not runs_scaled:
            for group in life.optimizer.param_groups:
                group["lr"] = group.pop("initial_lr")
        if self.form == "plain":
            equalize_lr(life.net, init="keep", optimizer=life.optimizer)
        else:
            remove_equalized_lr(life.net, optimizer=life.optimizer)
        self.form = "explicit" if self.form == "plain" else "plain"
        if life.schedule and not runs_scaled:
            with explicit_rates(life.optimizer):
                life.schedule = life.make(life.optimizer)
                for _ in range(done):
                    life.schedule.step()

    @invariant()
    def one_trajectory(self):
        if not hasattr(self, "twin"):
            return
        pairs = zip(self.life.plain().parameters(), self.twin.plain().parameters(), strict=True)
        for p, q in pairs:
            # tens of steps of a few roundings, amplified by training
            torch.testing.assert_close(p.detach(), q.detach(), rtol=1e-10, atol=1e-11)
        for name, average in self.twin.averages.items():
            torch.testing.assert_close(self.life.averages[name], average, rtol=1e-10, atol=1e-11)


OptimizerLives.TestCase.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
TestOptimizerLives = pytest.mark.slow(OptimizerLives.TestCase)
