"""Many threads, and many reads."""

import copy
import gc
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import nn

from equalized_lr import cached, equalize_lr, remove_equalized_lr

LIVES, STEPS = 100, 25
READS = 1_000_000
C = 0.25  # gain 1, fan 16: a power of two, so that both forms have the same bits


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(16, 16, bias=False), nn.Tanh(), nn.Linear(16, 4, bias=False))


def step(model, inputs, lr):
    model(inputs).square().mean().backward()
    torch.optim.SGD(model.parameters(), lr=lr).step()
    model.zero_grad()


def lives(seed, inputs, shared, expected, block):
    """Equalizes, runs, trains and gives back a model of its own, beside one that all threads run.

    Every step asks for the bits of a plain twin, which has the rate c**2 * lr.
    """
    own = network(seed)
    twin = copy.deepcopy(own)
    for _ in range(LIVES):
        equalize_lr(own, gain=1.0, init="keep")
        for _ in range(STEPS):
            with block():
                with torch.no_grad():
                    assert torch.equal(shared(inputs), expected)
                step(own, inputs, 0.125)
                step(twin, inputs, 0.125 * C**2)
                assert torch.equal(own[0].weight, twin[0].weight)
        remove_equalized_lr(own)
        assert type(own[0]) is nn.Linear
        assert torch.equal(own[2].weight, twin[2].weight)
    return LIVES * STEPS


@pytest.mark.slow
def test_four_threads():
    """Ten thousand steps in four threads, two of them inside `cached()`, change no bit.

    Each thread equalizes and gives back a model of its own, and all run one shared model.
    """
    shared = equalize_lr(network(9), gain=1.0)
    inputs = torch.randn(8, 16)
    expected = shared(inputs).detach()
    with ThreadPoolExecutor(4) as pool:
        lived = [
            pool.submit(lives, seed, inputs, shared, expected, block)
            for seed, block in enumerate((cached, nullcontext, cached, nullcontext))
        ]
        assert sum(each.result() for each in lived) == 10_000
    assert torch.equal(shared(inputs), expected)


def read(layer, inputs):
    return layer.weight


def run(layer, inputs):
    return layer(inputs)


def train(layer, inputs):
    layer(inputs).sum().backward()


def size():
    """Python's blocks of memory, and the pages that the process has, where the system tells."""
    gc.collect()
    pages = Path("/proc/self/statm")
    return sys.getallocatedblocks(), int(pages.read_text().split()[1]) if pages.exists() else 0


def grown(kind, use, block, reads):
    """By how many blocks and pages the process grows over so many reads."""
    layer, inputs = equalize_lr(kind(64, 64)), torch.randn(2, 64)

    def repeat(times):
        with block(), torch.set_grad_enabled(use is train):
            for _ in range(times):
                use(layer, inputs)

    repeat(2_000)
    before = size()
    repeat(reads)
    return [now - then for now, then in zip(size(), before, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("block", [nullcontext, cached])
@pytest.mark.parametrize(
    ("kind", "use", "reads"),
    [
        (nn.Linear, read, READS),
        (nn.Linear, run, READS // 10),
        (nn.Linear, train, READS // 100),
        (nn.GRUCell, run, READS // 100),
    ],
)
def test_memory_is_flat(kind, use, reads, block):
    """A million reads leave nothing behind, nor do a hundred thousand forwards."""
    blocks, pages = grown(kind, use, block, reads)
    assert blocks < reads / 20
    assert pages < 256  # a megabyte; each weight has four pages


def test_a_leak_is_seen():
    """Negative control: a use that keeps a copy of each weight."""
    kept = []
    blocks, pages = grown(
        nn.Linear, lambda layer, inputs: kept.append(layer.weight.clone()), nullcontext, 500
    )
    assert blocks > 400
    assert pages > 256 or not size()[1]
