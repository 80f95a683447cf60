"""What torch says of its operations."""

import torch

from equalized_lr.plan.operation import extent, has_values, operation, tensors_in

aten = torch.ops.aten


def test_names_and_kinds():
    """Names are without overloads and marks; views, draws and factories are known."""
    assert operation(aten.mul_.Tensor).name == operation(aten.mul.Scalar).name == "mul"
    assert operation(aten._to_copy.default).name == "_to_copy"
    assert operation(aten.t.default).is_view
    assert not operation(aten.clone.default).is_view
    assert operation(aten.bernoulli.default).is_random
    assert not operation(aten.mul.Tensor).is_random
    assert operation(aten.zeros_like.default).is_factory
    assert operation(aten.new_empty.default).is_factory
    assert operation(aten.mm.default).is_torch


@torch.library.custom_op("equalized_lr_tests::mm", mutates_args=())
def foreign(x: torch.Tensor) -> torch.Tensor:
    return x.clone()


def test_operations_of_others():
    """They keep their namespace, and are not taken for torch's."""
    facts = operation(torch.ops.equalized_lr_tests.mm.default)
    assert (facts.name, facts.is_torch) == ("equalized_lr_tests::mm", False)


def test_what_is_written():
    """In place, by `out=`, and in the averages of batch norm, whose schema hides it."""
    a, b, c = torch.ones(2), torch.ones(2), torch.ones(2)
    assert operation(aten.add.Tensor).targets((a, b), {}) == []
    assert operation(aten.add_.Tensor).targets((a, b), {})[0] is a
    assert operation(aten.add.out).targets((a, b), {"out": c})[0] is c
    averages = operation(aten.native_batch_norm.default).targets((a, b, b, c, None, True), {})
    assert any(each is c for each in averages)
    foreach = operation(aten._foreach_mul_.Scalar)
    assert [id(each) for each in foreach.targets(([a, b], 2), {})] == [id(a), id(b)]


def test_higher_order_operations():
    """They have a name and no schema."""
    facts = operation(torch.ops.higher_order.cond)
    assert (facts.name, facts.is_torch, facts.targets((), {})) == ("cond", False, [])


def test_tensors():
    """Arguments and results are tensors, or lists of them."""
    a, b = torch.ones(2), torch.ones(2, dtype=torch.long)
    assert [id(each) for each in tensors_in((a, [b, (a,)], 3, None))] == [id(a), id(b), id(a)]
    assert [has_values(a), has_values(b), has_values(torch.ones(1, dtype=torch.cfloat))] == [
        *(True, False, True)
    ]


def test_extent():
    """Elements that stand in several places count once."""
    assert extent(torch.ones(2, 3)) == extent(torch.ones(2, 1, 3).expand(2, 5, 3)) == 6
    assert extent(torch.ones(())) == extent(torch.ones(1).expand(4)) == 1
    assert extent(torch.ones(0, 3)) == 0
    assert extent(torch.eye(3).to_sparse()) == 9
