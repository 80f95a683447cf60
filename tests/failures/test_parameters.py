"""Parameters: who holds them, in which order, and whether they train."""

import copy

import pytest
import torch
from torch import nn

from equalized_lr import equalize_lr, errors
from tests.support.mechanisms import EQUALIZED, close, common_hook, net, x
from tests.support.reference import CommonHook


@common_hook("silent")
def test_an_optimizer_made_before(mechanism):
    """An optimizer that holds the Parameters of before trains the equalized model."""
    plain = net().double()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    model = mechanism.wrap(plain)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model(x()).square().sum().backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), f"{name} did not move"


@common_hook("silent")
def test_frozen_stays_frozen(mechanism):
    """requires_grad is kept."""
    plain = net()
    plain[0].weight.requires_grad_(False)
    model, plain = mechanism.twins(plain)
    flags = {name: parameter.requires_grad for name, parameter, _ in mechanism.stored(model)}
    assert flags == {name: p.requires_grad for name, p in plain.named_parameters()}
    mechanism.assert_alike(model, plain, x())


@common_hook("silent")
def test_order_is_kept(mechanism):
    """Parameters and state_dict keys come in the order that they had."""
    model, plain = mechanism.twins(net())
    assert [name for name, *_ in mechanism.stored(model)] == [
        n for n, _ in plain.named_parameters()
    ]
    assert [key.removesuffix("_orig") for key in model.state_dict()] == list(plain.state_dict())


@common_hook("silent")
def test_giving_back_leaves_no_trace(mechanism):
    """Names, order, repr, hooks and classes are those of before."""
    model, plain = mechanism.twins(net())
    mechanism.assert_alike(model, plain, x())
    mechanism.unwrap(model)
    assert list(model.state_dict()) == list(plain.state_dict())
    assert repr(model) == repr(plain)
    for mine, its in zip(model.modules(), plain.modules(), strict=True):
        assert type(mine) is type(its)
        assert (mine._forward_pre_hooks, mine._forward_hooks) == ({}, {})
        assert sorted(mine.__dict__) == sorted(its.__dict__)
    mechanism.assert_alike(model, plain, x())


@common_hook("silent")
def test_giving_back_keeps_the_optimizer(mechanism):
    """The optimizer of the equalized model trains the plain one."""
    model, _ = mechanism.twins(net())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    mechanism.unwrap(model)
    before = model[0].weight.detach().clone()
    model(x()).square().sum().backward()
    optimizer.step()
    assert not torch.equal(model[0].weight, before), "the weight did not move"


@common_hook("holds")
def test_again_and_again(mechanism):
    """Equalized, given back, equalized: the function stays, and trains."""
    model, plain = mechanism.twins(net())
    for _ in range(3):
        mechanism.assert_alike(model, plain, x())
        mechanism.wrap(mechanism.unwrap(model))
    mechanism.assert_alike(model, plain, x())


@common_hook("holds")
def test_odd_layers(mechanism):
    """Groups, transposed and strided convolutions, two inputs."""
    for layer, inputs in [
        (nn.Conv1d(4, 6, 3, groups=2, stride=2), (x(2, 4, 9),)),
        (nn.ConvTranspose2d(4, 2, 4, stride=2, groups=2), (x(2, 4, 5, 5),)),
        (nn.Bilinear(3, 2, 4), (x(5, 3), x(5, 2))),
    ]:
        model, plain = mechanism.twins(layer)
        for _ in range(2):
            mechanism.assert_alike(model, plain, *inputs)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float64, torch.complex64], ids=str
)
@common_hook("holds")
def test_other_dtypes(mechanism, dtype):
    """Outputs and gradients have the dtype of the weight, and its accuracy."""
    plain = nn.Linear(6, 3, dtype=dtype)
    model = mechanism.wrap(copy.deepcopy(plain))
    outputs = [m(x().to(dtype)) for m in (model, plain)]
    for output in outputs:
        output.abs().square().sum().backward()
    scale = mechanism.scales(model)["weight"]
    gradients = model.weight_orig.grad, scale * plain.weight.grad
    for actual, expected in (outputs, gradients):
        assert actual.dtype == dtype
        size = expected.abs().max().item()
        torch.testing.assert_close(actual, expected, rtol=0, atol=8 * size * torch.finfo(dtype).eps)


class Scale(nn.Module):
    """A weight of one dimension."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6))

    def forward(self, inputs):
        return inputs * self.weight


def test_weights_without_a_second_dimension():
    """One dimension is fine where the fan is given, no elements are refused; the hook fails."""
    plain = Scale().double()
    model = equalize_lr(copy.deepcopy(plain), "weight", fan=1, init="keep")
    EQUALIZED.assert_alike(model, plain, x())
    empty = nn.Linear(6, 3)
    empty.weight = nn.Parameter(torch.ones(0))
    for layer in (Scale(), empty):
        with pytest.raises(IndexError):
            CommonHook.wrap(layer)
    with pytest.raises(errors.EmptyWeight, match="no elements"):
        equalize_lr(nn.Sequential(nn.Linear(6, 3), empty))


def test_an_embedding_with_sparse_gradients():
    """Sparse gradients arrive, scaled; the padding row has none; SparseAdam makes its step."""
    plain = nn.Embedding(6, 4, padding_idx=0, sparse=True).double()
    model = equalize_lr(copy.deepcopy(plain), "weight", fan=4, gain=1.0, init="keep")  # c = 1 / 2
    tokens = torch.tensor([0, 1, 1, 5])
    for m in (model, plain):
        m(tokens).square().sum().backward()
    assert model.weight_orig.grad.is_sparse
    close(model.weight_orig.grad.to_dense(), plain.weight.grad.to_dense() / 2)
    assert not model.weight_orig.grad.to_dense()[[0, 2, 3, 4]].any()
    before = model.weight.detach().clone()
    torch.optim.SparseAdam(model.parameters(), lr=0.25, eps=1e-12).step()
    close((before - model.weight).abs()[[1, 5]], torch.full((2, 4), 0.125, dtype=torch.float64))
    close(before[[0, 2]], model.weight.detach()[[0, 2]])


@common_hook("holds")
def test_a_bag_of_embeddings_tied_to_a_layer(mechanism):
    """The bag follows the output layer that shares its weight, or keeps its own."""
    model, plain = mechanism.twins(nn.ModuleList([nn.EmbeddingBag(6, 4), nn.Linear(4, 6)]))
    bags = torch.tensor([[0, 1], [2, 5]])
    for m in (model, plain):
        m[1](m[0](bags)).square().sum().backward()
    mechanism.assert_gradients(model, plain)
