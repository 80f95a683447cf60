"""Law 7 over torch's own settings of its optimizers, those that its own tests run over."""

import copy
import warnings

import pytest
import torch
from torch import nn, optim

from equalized_lr import equalize_lr
from equalized_lr.optim import ScaledSteps, implicit
from tests.support.trajectories import distance, explicit_of, fixed, loss_of, trainable

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of torch, about its own modules
    from torch.testing._internal.common_optimizers import optim_db

STEPS = 12  # past RAdam's change of phase


def double(number):
    """A rate as a tensor of double precision, which float32 would round for each c anew."""
    return number.double() if isinstance(number, torch.Tensor) else number


CASES = {
    f"{info.optim_cls.__name__}, {case.desc}": (
        info.optim_cls,
        {key: double(number) for key, number in case.kwargs.items()},
    )
    for info in optim_db
    for case in info.optim_inputs_func(device="cpu")
}


@pytest.fixture(autouse=True)
def _double(monkeypatch):
    """In double precision, ASGD's counters and Muon's iteration too."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: self.clone())
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def models(kind):
    """The explicit form and a plain twin; SparseAdam trains an embedding."""
    if kind is optim.SparseAdam:
        plain = nn.Embedding(6, 3, sparse=True)
        explicit = equalize_lr(copy.deepcopy(plain), "weight", fan=1, gain=0.07, init="keep")
        return explicit, plain, {"weight": 0.07}
    plain, scales = fixed()
    if kind is optim.LBFGS:  # its line search amplifies one rounding a million times
        scales = {"0.weight": 0.25, "3.weight": 0.0625, "3.bias": 0.5, "5.weight": 4.0}
    return explicit_of(plain, scales), plain, scales


def optimizer_of(kind, net, scales, numbers):
    """The implicit form; of classes without a row under `ScaledSteps`."""
    numbers = copy.deepcopy(numbers)  # schedulers change rates that are tensors
    if kind is optim.LBFGS:
        optimizer = kind(net.parameters(), **numbers)
        ScaledSteps(optimizer, net, scales)
        return optimizer
    return implicit(kind, net, scales=scales, params=trainable(kind, net), **numbers)


def train(net, optimizer):
    for step in range(STEPS):

        def closure(step=step):
            optimizer.zero_grad()
            sparse = isinstance(net, nn.Embedding)
            rows = torch.tensor([step % 6, (step * step) % 6])
            loss = net(rows).square().sum() if sparse else loss_of(net, step)
            loss.backward()
            return loss

        optimizer.step(closure)


@pytest.mark.parametrize(("kind", "numbers"), CASES.values(), ids=CASES)
def test_each_setting(kind, numbers):
    """The two forms follow one trajectory."""
    explicit, plain, scales = models(kind)
    train(explicit, kind(trainable(kind, explicit), **copy.deepcopy(numbers)))
    train(plain, optimizer_of(kind, plain, scales, numbers))
    assert distance(plain, explicit) < 1e-12


def test_all_optimizers_of_torch():
    """What torch adds to its table is not passed over in silence."""
    assert len(CASES) >= 60
    assert {kind for kind, _ in CASES.values()} >= {optim.Adam, optim.LBFGS}
