"""The rivals under pytest-benchmark, for those who keep histories of their machine.

    python -m pytest -o addopts= tests/benchmarks/bench_layers.py --benchmark-autosave

Ratios are better read from `table`, which interleaves the rivals.
"""

import pytest
import torch

from tests.benchmarks.cases import Gan, adam, forward, gan_step, perceptron, tiny, training_step
from tests.benchmarks.rivals import RIVALS, build

each_rival = pytest.mark.parametrize("rival", RIVALS)


@each_rival
@pytest.mark.benchmark(group="20 layers of 16, forward")
def test_small_layers(benchmark, rival):
    """Twenty layers of 16, without gradients."""
    benchmark(forward(build(rival, tiny), torch.randn(1, 16)))


@each_rival
@pytest.mark.parametrize(("width", "batch"), [(128, 1), (512, 64), (2048, 16)])
def test_training(benchmark, rival, width, batch):
    """A step of three layers with Adam."""
    benchmark.group = f"training, 3 layers of {width}, batch {batch}"
    model = build(rival, lambda: perceptron(width))
    benchmark(training_step(model, adam(model), torch.randn(batch, width)))


@each_rival
@pytest.mark.benchmark(group="PGGAN's step at 32 x 32, WGAN-GP")
def test_gan(benchmark, rival):
    """A step of a generator and a critic."""
    gan = build(rival, Gan)
    benchmark(gan_step(gan, adam(gan)))
