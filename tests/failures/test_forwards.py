"""Forwards that are no plain function call: suspended, recursive, changed by hooks."""

import asyncio

import torch
from torch import nn

from equalized_lr.layer.caching import current_cache
from tests.support.mechanisms import EQUALIZED, close, common_hook, x


class Steps(nn.Linear):
    """Its forward is a generator, whose body runs when the call is long over."""

    def forward(self, inputs):
        for _ in range(2):
            yield nn.functional.linear(inputs, self.weight, self.bias)


class Waits(nn.Linear):
    """Its forward is a coroutine, suspended between two reads."""

    async def forward(self, inputs):
        first = nn.functional.linear(inputs, self.weight, self.bias)
        await asyncio.sleep(0)
        return first + nn.functional.linear(inputs, self.weight, self.bias)


class Recursive(nn.Linear):
    """Calls itself between two reads of its weight."""

    def forward(self, inputs, depth=2):
        out = nn.functional.linear(inputs, self.weight, self.bias)
        if depth:
            out = out + self(torch.tanh(out), depth - 1)
        return out @ self.weight


@common_hook("silent")
def test_a_generator(mechanism):
    """What a suspended forward reads after a change is what is stored by then."""
    model, plain = mechanism.twins(Steps(6, 6))
    outputs = []
    for twin in (model, plain):
        running = twin(x())
        first = next(running)
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.mul_(2)
        outputs.append((first.detach(), next(running)))
        outputs[-1][1].square().sum().backward()
    for actual, expected in zip(*outputs, strict=True):
        close(actual, expected)
    mechanism.assert_gradients(model, plain)


@common_hook("holds")
def test_coroutines_side_by_side(mechanism):
    """Two forwards of one layer take turns, and both gradients arrive."""
    model, plain = mechanism.twins(Waits(6, 6))

    async def both(layer):
        return sum(await asyncio.gather(layer(x(seed=1)), layer(x(seed=2))))

    outputs = [asyncio.run(both(layer)) for layer in (model, plain)]
    close(*outputs)
    for output in outputs:
        output.square().sum().backward()
    mechanism.assert_gradients(model, plain)


@common_hook("holds")
def test_a_module_that_calls_itself(mechanism):
    """The end of an inner forward does not end the outer one's gradients."""
    model, plain = mechanism.twins(Recursive(6, 6))
    for _ in range(2):
        mechanism.assert_alike(model, plain, x())


@common_hook("holds")
def test_hooks_that_change_inputs_and_outputs(mechanism):
    """Hooks before and after ours return new values that they compute with the weight."""
    model, plain = mechanism.twins(nn.Linear(6, 6))
    for layer in (model, plain):
        layer.register_forward_pre_hook(lambda layer, args: (args[0] @ layer.weight,))
        layer.register_forward_hook(lambda layer, args, out: out @ layer.weight)
        layer.register_forward_hook(lambda layer, args, out: torch.tanh(out), prepend=True)
    for _ in range(2):
        mechanism.assert_alike(model, plain, x())


def test_a_hook_that_raises():
    """A hook that fails after the forward, or is always called and fails, leaves no cache."""
    model, plain = EQUALIZED.twins(nn.Linear(6, 3))
    for options in ({}, {"always_call": True}, {"prepend": True}):
        handle = model.register_forward_hook(lambda *_: 1 / 0, **options)
        try:
            model(x())
        except ZeroDivisionError:
            handle.remove()
        assert current_cache() is None
        EQUALIZED.assert_alike(model, plain, x())
