"""A write into a computed weight is a write into the stored one."""

import copy
import gc
import pickle
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from equalized_lr import cached, equalize_lr, errors, plain_state_dict, remove_equalized_lr
from equalized_lr.layer import writes
from tests.support.assertions import assert_equal

WAYS = {
    "init": lambda layer, name: nn.init.constant_(getattr(layer, name), 3.0),
    "copy": lambda layer, name: getattr(layer, name).copy_(torch.tensor(3.0)),
    "detach": lambda layer, name: getattr(layer, name).detach().fill_(3.0),
    "view": lambda layer, name: getattr(layer, name).view(-1).fill_(3.0),
    "rows": lambda layer, name: [row.fill_(3.0) for row in getattr(layer, name)],
    "data": lambda layer, name: getattr(layer, name).data.fill_(3.0),
    "array": lambda layer, name: getattr(layer, name).detach().numpy().fill(3.0),
}


@pytest.fixture
def layer():
    return equalize_lr(nn.Linear(4, 2), gain=1.0)  # c = 0.5: all numbers here are exact


def write(layer, way, name="weight"):
    with torch.no_grad():
        WAYS[way](layer, name)


def forward(layer):
    return layer(torch.ones(1, 4)) - layer.bias


LOOKS = {
    "read": lambda layer: layer.weight,
    "forward": lambda layer: forward(layer).T.expand(2, 4) / 4,
    "inner forward": lambda layer: layer.forward(torch.ones(1, 4)).T.expand(2, 4) / 4,
    "copy": lambda layer: copy.deepcopy(layer).weight,
    "pickle": lambda layer: pickle.loads(pickle.dumps(layer)).weight,
    "save": lambda layer: layer.state_dict()["weight_orig"] / 2,
    "plain save": lambda layer: plain_state_dict(layer)["weight"],
    "removal": lambda layer: remove_equalized_lr(layer).weight,
    "dtype": lambda layer: layer.double().weight.float(),
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("way", WAYS)
def test_a_write_is_there_whoever_looks(layer, way, look):
    """Any way to write in place reaches any way to look at the weight."""
    write(layer, way)
    assert_equal(LOOKS[look](layer).detach(), torch.full((2, 4), 3.0))


@pytest.mark.parametrize("look", LOOKS)
def test_a_write_into_a_weight_that_is_held(layer, look):
    """A second write through the same tensor arrives as well."""
    weight = layer.weight
    with torch.no_grad():
        weight.fill_(1.0)
        assert_equal(forward(layer), torch.full((1, 2), 4.0))
        weight.fill_(3.0)
    assert_equal(LOOKS[look](layer).detach(), torch.full((2, 4), 3.0))


@pytest.mark.parametrize("way", [way for way in WAYS if way not in ("data", "array")])
def test_counted_writes_are_stored_at_once(layer, way):
    """When nobody holds the weight any more, the stored parameter has the values already."""
    write(layer, way)
    _ = layer.weight if way == "detach" else None  # whose memory outlived the weight
    assert_equal(layer.weight_orig.detach(), torch.full((2, 4), 6.0))


@pytest.mark.parametrize("way", WAYS)
def test_an_optimizers_step_begins_with_what_was_written(layer, way):
    """One step of SGD goes on from the written values."""
    write(layer, way)
    layer.weight_orig.grad = torch.full((2, 4), 2.0)
    torch.optim.SGD([layer.weight_orig], lr=1.0).step()
    assert_equal(layer.weight_orig.detach(), torch.full((2, 4), 4.0))


def test_a_read_changes_no_bit():
    """Reads, however they are held, leave the stored parameter as it is."""
    layer = equalize_lr(nn.Linear(7, 5))
    before, version = layer.weight_orig.clone(), layer.weight_orig._version
    held = [layer.weight, layer.weight.detach(), layer.weight.data, layer.weight[0]]
    layer(torch.ones(1, 7))
    del held
    layer.state_dict()
    assert_equal(layer.weight_orig, before)
    assert layer.weight_orig._version == version


def test_what_is_not_written_keeps_its_bits():
    """A write into one row changes no other, whatever c is."""
    layer = equalize_lr(nn.Linear(7, 5))
    before = layer.weight_orig.clone()
    with torch.no_grad():
        layer.weight[0] = 0.0
    assert_equal(layer.weight_orig[1:], before[1:])
    assert not layer.weight_orig[0].any()


def test_a_read_keeps_no_memory(layer):
    """A weight that nobody holds any more leaves nothing behind."""
    for _ in range(3):
        _ = layer.weight
        _ = layer.weight + 1
    assert not writes.remembered


def test_nothing_is_remembered_in_forwards(layer):
    """A forward pays for no alias."""
    remembered = []
    layer.register_forward_hook(lambda *_: remembered.append(dict(writes.remembered)))
    layer(torch.ones(1, 4))
    lstm = equalize_lr(nn.LSTM(2, 2))
    lstm.register_forward_hook(lambda *_: remembered.append(dict(writes.remembered)))
    lstm(torch.ones(1, 1, 2))
    assert remembered == [{}, {}]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_grad_modes(layer, mode):
    """Writes count in every mode in which torch allows them, held or not."""
    with mode():
        held = layer.weight
        with torch.no_grad():
            held.fill_(1.0)
        assert_equal(layer.weight.detach(), torch.ones(2, 4))
        del held
        nn.init.constant_(layer.weight, 3.0)
    assert_equal(layer.weight.detach(), torch.full((2, 4), 3.0))


def test_all_who_hold_the_weight_hold_the_same(layer):
    """So of several writes the last one counts, as with a Parameter."""
    first, second = layer.weight, layer.weight
    with torch.no_grad():
        second.fill_(1.0)
        first.fill_(3.0)
    assert_equal(layer.weight.detach(), torch.full((2, 4), 3.0))
    assert first is second


def test_a_write_that_is_out_of_date_is_refused(layer):
    """A weight that was read before a step does not take the step back."""
    weight = layer.weight
    with torch.no_grad():
        layer.weight_orig.add_(1)
        before = layer.weight_orig.clone()
        weight.mul_(0.5)
    with pytest.raises(errors.StaleWrite, match=r"shape \(2, 4\) .*Read layer.weight anew"):
        layer(torch.ones(1, 4))
    assert_equal(layer.weight_orig, before)
    layer(torch.ones(1, 4))  # it was said once, and the model goes on


CHANGES = {
    "step": lambda layer: torch.optim.Adam(layer.parameters(), lr=0.5).step(),
    "load": lambda layer: layer.load_state_dict(nn.Linear(4, 2).state_dict()),
    "swap": lambda layer: setattr(layer.weight_orig, "data", torch.ones(2, 4)),
}


@pytest.mark.parametrize("block", [nullcontext, cached])
@pytest.mark.parametrize("change", CHANGES)
def test_a_weight_that_is_held_follows(layer, change, block):
    """A list of weights that a regularizer has gathered once is that of the model, as in torch."""
    with block():
        held = layer.weight
    for _ in range(2):
        layer.zero_grad()
        (held.square().sum() + forward(layer).sum()).backward()
        torch.testing.assert_close(layer.weight_orig.grad, layer.weight_orig / 2 + 0.5)
        CHANGES[change](layer)
        forward(layer)
        assert_equal(held, layer.weight)


def test_a_step_is_followed_at_once(layer):
    """What is held may be read and written right after a step."""
    held = layer.weight
    forward(layer).sum().backward()
    torch.optim.SGD(layer.parameters(), lr=0.5).step()
    assert_equal(held.detach(), layer.weight_orig.detach() / 2)
    with torch.no_grad():
        held.fill_(3.0)
    assert_equal(layer.weight.detach(), torch.full((2, 4), 3.0))


def test_moved_memory_does_not_disturb_a_pending_backward(layer):
    """A weight that has its values already is not written."""
    held = layer.weight
    loss = held.square().sum()
    layer.weight_orig.data = layer.weight_orig.data.clone()
    forward(layer)
    loss.backward()


@pytest.mark.parametrize("change", [lambda layer: layer.double(), lambda layer: layer.to("meta")])
def test_another_dtype_or_device_is_not_followed(layer, change):
    """What is held stays as it was, and does not disturb the layer."""
    held = layer.weight
    before = held.detach().clone()
    change(layer)
    assert layer.weight.dtype == layer.weight_orig.dtype
    assert_equal(held.detach(), before)


def test_a_refusal_waits_for_somebody_to_hear_it(layer):
    """A weight that dies out of date is not forgotten before the error was raised."""
    weight = layer.weight
    with torch.no_grad():
        layer.weight_orig.add_(1)
        weight.mul_(0.5)
    del weight
    with pytest.raises(errors.StaleWrite):
        layer.state_dict()


def test_writes_through_two_weights_at_once_are_refused(layer):
    """Two constants over one stored parameter make two weights, and neither write is the last."""
    other = equalize_lr(nn.Linear(4, 2), gain=2.0)
    other.weight_orig = layer.weight_orig
    before, weights = layer.weight_orig.clone(), (layer.weight, other.weight)
    for value, weight in enumerate(weights):
        nn.init.constant_(weight, value)
    with pytest.raises(errors.StaleWrite, match=r"shape \(2, 4\)"):
        layer(torch.ones(1, 4))
    assert_equal(layer.weight_orig, before)


def test_values_that_do_not_fit():
    """float16 cannot hold what a small c makes of a large value."""
    layer = equalize_lr(nn.Linear(4, 2).half(), gain=2.0**-9)
    before = layer.weight_orig.clone()
    with torch.no_grad():
        layer.weight.fill_(1000.0)
    with pytest.raises(
        errors.Unscalable, match=r"^what was written into a weight .*torch\.float16"
    ):
        layer(torch.ones(1, 4).half())
    assert_equal(layer.weight_orig, before)


def test_replaced_data_is_not_lost_in_silence(layer):
    """`layer.weight.data = values` arrives where the weight is held, and is refused else."""
    weight = layer.weight
    weight.data = torch.full((2, 4), 3.0)
    assert_equal(layer.weight.detach(), torch.full((2, 4), 3.0))
    del weight
    layer.weight.data = torch.ones(2, 4)
    with pytest.raises(errors.LostData, match=r"shape \(2, 4\) was replaced"):
        layer(torch.ones(1, 4))
    assert_equal(layer.weight.detach(), torch.full((2, 4), 3.0))
    with cached():
        layer.weight.data = torch.ones(2, 4)
    assert_equal(layer.weight.detach(), torch.ones(2, 4))


def test_replaced_data_in_apply(layer):
    """Functions that replace `.data`, by other shapes and dtypes too, are followed."""

    def replace(module):
        module.weight.data = torch.full((3, 4), 3.0, dtype=torch.float64)

    layer.apply(replace)
    assert_equal(layer.weight.detach(), torch.full((3, 4), 3.0, dtype=torch.float64))
    assert not layer.weight_orig.is_inference()


def test_nan_and_infinity_arrive(layer):
    """As on the plain layer, whoever writes them has them."""
    with torch.no_grad():
        layer.weight[0] = torch.nan
        layer.weight[1] = torch.inf
    assert layer.weight[0].isnan().all()
    assert layer.weight[1].isinf().all()


def test_tied_layers():
    """A write through one end of a tie is seen by the other, held or not."""
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    equalize_lr(net, gain=1.0)
    weight = net[0].weight
    with torch.no_grad():
        weight.fill_(3.0)
    assert_equal(net[1](torch.ones(1, 4)), torch.full((1, 4), 12.0))


@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0"])
def test_recurrent_layers(name):
    """The weights of an LSTM, read by name or from `all_weights`, in and out of `cached()`."""
    lstm = equalize_lr(nn.LSTM(4, 4), gain=1.0)
    write(lstm, "init", name)
    assert_equal(getattr(lstm, name).detach(), torch.full((16, 4), 3.0))
    with cached(), torch.no_grad():
        for weights in lstm.all_weights:
            nn.init.zeros_(weights[0])
    assert not lstm.weight_ih_l0_orig.any()


def test_attention_and_lr_mul():
    """The packed weight of attention, and a bias that is scaled."""
    attention = equalize_lr(nn.MultiheadAttention(4, 2), gain=1.0, lr_mul=0.5)
    for name in ("in_proj_weight", "in_proj_bias"):
        write(attention, "init", name)
        assert_equal(
            getattr(attention, name).detach(),
            torch.full_like(attention.get_parameter(f"{name}_orig"), 3.0),
        )


def normalized(weight):
    return weight / weight.norm(dim=1, keepdim=True)


class Forced(nn.Linear):
    """Normalizes its own weight in each forward in training, as EDM2 does."""

    def forward(self, x):
        weight = self.weight
        if self.training:
            with torch.no_grad():
                self.weight.copy_(normalized(weight))
        return nn.functional.linear(x, normalized(weight))


@pytest.mark.parametrize("block", [torch.enable_grad, cached])
def test_a_layer_that_writes_into_its_own_weight(block):
    """The outputs, the gradients and what is stored are those of the plain layer."""
    plain = Forced(4, 2, bias=False).double()
    layer = equalize_lr(copy.deepcopy(plain), init="keep")
    scale = 2**0.5 / 2
    with block():
        for _ in range(3):
            losses = [
                net(torch.ones(1, 4, dtype=torch.float64)).square().sum() for net in (plain, layer)
            ]
            torch.testing.assert_close(*losses)
            for loss in losses:
                loss.backward()
    torch.testing.assert_close(layer.weight_orig.grad, plain.weight.grad * scale)
    torch.testing.assert_close(layer.weight, plain.weight)


def test_a_write_in_a_forward_that_fails():
    """It is stored as well, as on the plain layer."""

    class Fails(nn.Linear):
        def forward(self, x):
            with torch.no_grad():
                self.weight.fill_(3.0)
            raise ZeroDivisionError

    layer = equalize_lr(Fails(4, 2), gain=1.0)
    with pytest.raises(ZeroDivisionError):
        layer(torch.ones(1, 4))
    assert_equal(layer.weight_orig.detach(), torch.full((2, 4), 6.0))


def gan_init(module):
    """The idiom of GAN code."""
    if isinstance(module, nn.Linear):
        nn.init.constant_(module.weight.data, 3.0)


def fill(weight):
    weight.data.fill_(3.0)


def careful_init(module):
    """The same by a helper, so that the weight is held while it is written."""
    if hasattr(module, "weight"):
        fill(module.weight)


class Block(nn.Module):
    """Draws its child anew."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 2)

    def reset_parameters(self):
        nn.init.constant_(self.inner.weight, 3.0)


@pytest.mark.parametrize("function", [gan_init, careful_init])
def test_apply_on_a_model(function):
    """What a function writes through `.data` is stored when `apply` returns."""
    net = equalize_lr(nn.Sequential(nn.Linear(4, 2), nn.ReLU()), gain=1.0)
    net.apply(function)
    assert_equal(net[0].weight_orig.detach(), torch.full((2, 4), 6.0))


def test_apply_of_verbs():
    """Functions that equalize, remove or only read work as ever."""
    net = nn.Sequential(nn.Linear(4, 2), nn.ReLU())
    net.apply(lambda m: equalize_lr(m, gain=1.0) if isinstance(m, nn.Linear) else m)
    before = net[0].weight.detach().clone()
    net.apply(lambda m: m.weight.norm() if isinstance(m, nn.Linear) else m)
    assert_equal(net[0].weight.detach(), before)
    net.apply(lambda m: remove_equalized_lr(m) if isinstance(m, nn.Linear) else m)
    assert_equal(net[0].weight.detach(), before)


@pytest.mark.parametrize(
    "draw",
    [
        lambda net: net.apply(lambda m: m.reset_parameters() if isinstance(m, Block) else m),
        lambda net: net[0].reset_parameters(),
        lambda net: [nn.init.constant_(m.inner.weight.data, 3.0) for m in net],
        lambda net: net.apply(
            lambda m: nn.init.constant_(m.inner.weight.data, 3.0) if isinstance(m, Block) else m
        ),
    ],
)
def test_a_container_that_draws_its_children(draw):
    """A parent that writes into a child's weight is heard."""
    net = equalize_lr(nn.Sequential(Block()), gain=1.0)
    draw(net)
    assert_equal(net[0].inner.weight.detach(), torch.full((2, 4), 3.0))


def test_a_layer_that_dies_is_not_kept_alive():
    """A held weight does not keep the registry from forgetting its layer."""
    layer = equalize_lr(nn.Linear(4, 2).requires_grad_(False))
    values = layer.weight.detach()
    del layer
    gc.collect()
    assert not writes.remembered
    assert values.shape == (2, 4)


def test_the_tests_would_see_a_lost_write():
    """Negative control: torch's parametrization computes its weight, and loses what is written."""

    class Half(nn.Module):
        def forward(self, weight):
            return weight / 2

    layer = nn.utils.parametrize.register_parametrization(nn.Linear(4, 2), "weight", Half())
    write(layer, "init")
    assert not torch.equal(layer.weight, torch.full((2, 4), 3.0))


def test_parameters_of_a_model_show_a_write_into_a_weight_that_is_still_held(layer):
    """An average over parameters() gets what was written, before any forward."""
    model = nn.Sequential(nn.Sequential(layer))
    before = layer.weight_orig.detach().clone()
    held = layer.weight
    assert_equal(next(model.parameters()), before)
    with torch.no_grad():
        held.fill_(3.0)
    assert_equal(next(model.parameters()), torch.full((2, 4), 6.0))


@pytest.mark.parametrize("assign", [False, True])
def test_what_is_loaded_comes_after_what_was_written(layer, assign):
    """A write into a weight that is still held is lost by load_state_dict, as in torch."""
    plain = nn.Linear(4, 2)
    held = layer.weight
    with torch.no_grad():
        held.fill_(3.0)
    layer.load_state_dict(plain.state_dict(), assign=assign)
    assert_equal(layer.weight, plain.weight)


def test_an_array_that_is_written_twice(layer):
    """What was stored is what later values are compared with."""
    array = layer.weight.detach().numpy()
    for value in (2.0, 3.0):
        array[...] = value
        assert_equal(layer.weight.detach(), torch.full((2, 4), value))


def test_a_tie_to_one_of_many_weights_that_are_held(layer):
    """The layer is tied to the weight that was assigned, whatever others somebody holds."""
    others = [equalize_lr(nn.Linear(4, 2), gain=1.0) for _ in range(3)]
    weights = [other.weight for other in others]
    layer.weight = weights[1]
    assert layer.weight_orig is others[1].weight_orig
