"""The class of an equalized layer, in the eyes of code that does not know it."""

import copy
import gc
import inspect
import pickle
import weakref

import pytest
import torch
from torch import nn

from equalized_lr import equalize_lr, errors, he_scales, is_equalized, remove_equalized_lr
from equalized_lr.layer.subclass import equalized_class
from tests.support.assertions import Snapshot, assert_equal


def test_repr():
    """Each equalized layer shows its c in one phrase, the smallest and the largest of several."""
    assert repr(equalize_lr(nn.Linear(8, 2))) == (
        "Linear(in_features=8, out_features=2, bias=True, c=0.5)"
    )
    assert repr(equalize_lr(nn.LSTM(8, 2))) == "LSTM(8, 2, c=0.5 to 1)"
    assert repr(equalize_lr(nn.Linear(8, 2), lr_mul=0.01)).endswith("c=0.005 to 0.01)")
    assert "\n  (linear1): Linear(in_features=8, out_features=8, bias=True, c=0.5)\n" in repr(
        equalize_lr(nn.TransformerEncoderLayer(8, 2, 8))
    )
    assert repr(remove_equalized_lr(equalize_lr(nn.Linear(8, 2)))) == repr(nn.Linear(8, 2))


def test_the_class_looks_like_the_layers_own():
    """isinstance, name, module, qualname, doc and source are those of the plain class."""
    layer = equalize_lr(nn.Linear(3, 2))
    kind = type(layer)
    assert isinstance(layer, nn.Linear)
    for attribute in ("__name__", "__module__", "__qualname__", "__doc__"):
        assert getattr(kind, attribute) == getattr(nn.Linear, attribute)
    assert inspect.signature(layer.forward) == inspect.signature(nn.Linear(3, 2).forward)


def test_one_class_per_class_and_names():
    """Layers of one kind share their class; other names make another one."""
    one, two = (equalize_lr(nn.Linear(n, 2)) for n in (3, 4))
    assert type(one) is type(two)
    assert type(equalize_lr(nn.Linear(3, 2), lr_mul=0.1)) is not type(one)


def test_classes_do_not_outlive_their_layers():
    """A class of a user, and the one made for it, are collected with the last layer."""

    class Mine(nn.Linear):
        pass

    made = weakref.ref(type(equalize_lr(Mine(3, 2))))
    own = weakref.ref(Mine)
    del Mine
    gc.collect()
    assert made() is None
    assert own() is None


def test_registers_of_subclasses_do_not_see_it():
    """A base class that keeps a register in `__init_subclass__` is not told of our class."""

    class Registered(nn.Linear):
        register = []

        def __init_subclass__(cls, *, key):
            Registered.register.append((key, cls))

    class Mine(Registered, key="mine"):
        pass

    layer = equalize_lr(Mine(3, 2))
    assert Registered.register == [("mine", Mine)]
    assert isinstance(layer, Mine)


def test_calling_the_class_builds_a_plain_layer():
    """Code that builds another layer by `type(layer)(...)` gets a plain, working one."""
    layer = equalize_lr(nn.Linear(3, 2))
    other = type(layer)(5, 4)
    assert type(other) is nn.Linear
    assert not is_equalized(other)
    assert other(torch.randn(1, 5)).shape == (1, 4)


class Numbered(nn.Linear):
    """A layer with state and pickling of its own."""

    def __init__(self, number=7):
        super().__init__(3, 2)
        self.number = number

    def __getstate__(self):
        return self.__dict__ | {"number": self.number + 1}

    def __setstate__(self, state):
        super().__setstate__(state)
        self.restored = True


class Rebuilt(nn.Linear):
    """A layer that is pickled as the call that builds it."""

    def __init__(self):
        super().__init__(3, 2)

    def __reduce__(self):
        return (Rebuilt, ())


class Owner(nn.Linear):
    """A layer with a `__deepcopy__` of its own."""

    def __deepcopy__(self, memo):
        twin = type(self)(self.in_features, self.out_features)
        twin.load_state_dict(self.state_dict())
        return twin


def test_pickling_of_its_own_is_respected():
    """`__getstate__`, `__setstate__` and `__reduce__` of the layer's class do their part."""
    layer = equalize_lr(Numbered())
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert (twin.number, twin.restored) == (8, True)
        assert_equal(twin.weight, layer.weight)
    with pytest.raises(errors.NotRebuilt, match="a Rebuilt copies itself by its own code"):
        copy.deepcopy(equalize_lr(Rebuilt()))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_all_pickle_protocols(protocol):
    """Every protocol of pickle brings an equalized layer back."""
    layer = equalize_lr(nn.Linear(3, 2))
    twin = pickle.loads(pickle.dumps(layer, protocol))
    assert type(twin) is type(layer)
    assert_equal(twin.weight, layer.weight)


def test_a_deepcopy_of_its_own_that_cannot_work_says_so():
    """A `__deepcopy__` that loads a state_dict into `type(self)(...)` fails loudly."""
    with pytest.raises(RuntimeError, match="weight_orig"):
        copy.deepcopy(equalize_lr(Owner(3, 2)))


def test_shallow_copies_share_the_stored_parameter():
    """`copy.copy` gives a module with the same Parameters, equalized as well."""
    layer = equalize_lr(nn.Linear(3, 2))
    twin = copy.copy(layer)
    assert twin.weight_orig is layer.weight_orig
    assert_equal(twin.weight, layer.weight)


@pytest.mark.parametrize("verb", [equalize_lr, remove_equalized_lr])
def test_a_shallow_copy_is_not_left_with_half_a_weight(verb):
    """It shares hooks and Parameters, so changing one of the two is refused while both live."""
    layer = nn.Linear(3, 2) if verb is equalize_lr else equalize_lr(nn.Linear(3, 2))
    twin = copy.copy(layer)
    before = Snapshot(layer)
    with pytest.raises(errors.TiedElsewhere, match="a Linear outside"):
        verb(layer)
    before.assert_unchanged()
    assert twin(torch.ones(1, 3)).shape == (1, 2)
    del twin
    verb(layer)


def test_removal_does_not_need_the_forward_hook():
    """Code that clears forward hooks does not leave a layer that can be given back only half."""
    layer = equalize_lr(nn.Linear(3, 2))
    layer._forward_hooks.clear()
    layer._forward_hooks_always_called.clear()
    expected = layer(torch.ones(1, 3))
    remove_equalized_lr(layer)
    assert type(layer) is nn.Linear
    assert not layer._forward_pre_hooks
    torch.testing.assert_close(layer(torch.ones(1, 3)), expected)


def test_a_cleared_hook_is_an_error():
    """Code that clears all hooks of a layer does not get a wrong weight, but a clear error."""
    layer = equalize_lr(nn.Linear(3, 2))
    layer._forward_pre_hooks.clear()
    for use in (lambda: layer(torch.randn(1, 3)), lambda: remove_equalized_lr(layer)):
        with pytest.raises(errors.HookLost, match="pre-hook"):
            use()


@pytest.mark.parametrize("layer", [nn.Linear(8, 4), nn.LSTM(8, 4), nn.Conv2d(8, 4, 3)])
def test_reset_parameters_acts_on_the_effective_weight(layer):
    """`reset_parameters` gives the weights that it gives to the plain layer."""
    plain, layer = copy.deepcopy(layer), equalize_lr(copy.deepcopy(layer), lr_mul=0.5)
    raws, names = list(layer.parameters()), list(dict(layer.named_parameters()))
    for each in (plain, layer):
        torch.manual_seed(1)
        each.reset_parameters()
    assert all(a is b for a, b in zip(layer.parameters(), raws, strict=True))
    assert list(dict(layer.named_parameters())) == names
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(getattr(layer, name), parameter, rtol=1e-6, atol=0)


def test_attention_resets_its_out_proj():
    """`_reset_parameters` of attention writes into a child's bias, which is scaled here, too."""
    layer = equalize_lr(nn.MultiheadAttention(8, 2), lr_mul=0.5)
    nn.init.ones_(layer.out_proj.bias_orig)
    before = layer.out_proj.weight.detach()
    layer._reset_parameters()
    assert_equal(layer.out_proj.bias, torch.zeros(8))
    torch.testing.assert_close(layer.out_proj.weight.detach(), before, rtol=1e-6, atol=0)
    assert he_scales(layer)["out_proj.bias"] == 0.5


def test_a_reset_that_fails_leaves_the_layer_equalized():
    """An exception in reset_parameters leaves the same function and the same stored names."""

    class Fails(nn.Linear):
        def reset_parameters(self):
            if hasattr(self, "ready"):
                raise ValueError

    layer = equalize_lr(Fails(8, 2))
    layer.ready = True
    before, state = layer.weight.detach(), list(layer.state_dict())
    with pytest.raises(ValueError, match="^$"):
        layer.reset_parameters()
    assert_equal(layer.weight, before)
    assert list(layer.state_dict()) == state


def test_a_reset_that_replaces_the_parameter():
    """A reset that makes new Parameters stores them, divided by c."""

    class Replaces(nn.Linear):
        def reset_parameters(self):
            self.weight = nn.Parameter(torch.ones(2, 8))

    layer = equalize_lr(Replaces(8, 2))
    layer.reset_parameters()
    assert_equal(layer.weight, torch.ones(2, 8))
    assert_equal(layer.weight_orig, torch.full((2, 8), 2.0))


def test_meta_layers_come_to_life():
    """Built and equalized on the meta device, then `to_empty` and `reset_parameters`."""
    with torch.device("meta"):
        layer = equalize_lr(nn.Linear(8, 2))
    layer.to_empty(device="cpu")
    layer.reset_parameters()
    assert layer.weight.abs().max() <= 1 / 8**0.5
    assert layer(torch.randn(1, 8)).isfinite().all()


def test_recurrent_layers_keep_no_computed_weight():
    """An RNN's list of weights is computed at each read, after a direct forward, too."""
    layer = equalize_lr(nn.LSTM(3, 4, 2, bidirectional=True))
    x = torch.randn(5, 2, 3)
    out = layer.forward(x)[0]
    assert "_flat_weights" not in layer.__dict__
    layer.flatten_parameters()
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert_equal(twin(x)[0], out)
        remove_equalized_lr(twin)
        assert all(a is b for a, b in zip(twin._flat_weights, twin.parameters(), strict=True))
        assert_equal(twin(x)[0], out)


def test_recurrent_layers_change_their_dtype():
    """`double()` and `half()` act on the stored weights of an RNN."""
    layer = equalize_lr(nn.GRU(3, 4)).double()
    assert layer(torch.randn(5, 2, 3).double())[0].dtype == torch.float64


def test_wrapping_on_top_is_found_before_a_reset():
    """A reset under torch's parametrize, which keeps a class of its own, is refused."""
    layer = equalize_lr(nn.Linear(8, 2))
    nn.utils.parametrizations.spectral_norm(layer, "weight_orig")
    assert_equal(layer.eval().weight, layer.weight_orig * he_scales(layer)["weight"])
    with pytest.raises(errors.WrappedOnTop):
        layer.reset_parameters()


def test_class_variants_do_not_depend_on_who_asks():
    """The memo gives the class of a layer back for its plain class and names."""
    layer = equalize_lr(nn.Linear(8, 2))
    assert equalized_class(nn.Linear, ("weight",)) is type(layer)


def test_arguments_by_name():
    """A plain layer is built from arguments by keyword, too."""
    other = type(equalize_lr(nn.Linear(3, 2)))(in_features=5, out_features=4, bias=False)
    assert (other.in_features, other.out_features, other.bias) == (5, 4, None)


def test_repr_of_many_and_of_none():
    """Of three constants the ends are shown; a layer that lost its hook is printed without."""
    lstm = equalize_lr(nn.LSTM(8, 2, num_layers=2, proj_size=1))
    assert repr(lstm) == "LSTM(8, 2, proj_size=1, num_layers=2, c=0.5 to 1.41)"
    layer = equalize_lr(nn.Linear(8, 2))
    layer._forward_pre_hooks.clear()
    assert repr(layer) == repr(nn.Linear(8, 2))


@pytest.mark.parametrize("layer", [nn.Linear(3, 2), nn.LSTM(3, 2), nn.Conv1d(3, 2, 1)])
def test_a_forward_that_somebody_kept_works_after_removal(layer):
    """Tools put an instance's old forward back when they go, also after the class is plain."""
    equalize_lr(layer)
    kept = layer.forward
    remove_equalized_lr(layer)
    x = torch.ones(3, 3)
    for ours, theirs in zip(kept(x), layer(x), strict=True):
        assert_equal(ours, theirs) if isinstance(ours, torch.Tensor) else None


def test_a_forward_that_is_replaced_later_is_called():
    """A patch of the plain class's forward reaches layers that are equalized already."""

    class Patched(nn.Linear):
        pass

    layer = equalize_lr(Patched(3, 2))
    Patched.forward = lambda self, x: "patched"
    assert layer(torch.ones(1, 3)) == "patched"


def test_options_of_conversions_arrive():
    """`to_empty(recurse=False)` does not touch the weights of the layers inside."""
    layer = equalize_lr(nn.MultiheadAttention(4, 2))
    layer.to_empty(device="meta", recurse=False)
    assert layer.in_proj_weight.is_meta
    assert not layer.out_proj.weight.is_meta
