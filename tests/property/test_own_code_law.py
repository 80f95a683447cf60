"""Law 13: what belongs to the plain layer still works on it, or the call refuses."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from equalized_lr import equalize_lr, errors, is_equalized, plain_state_dict, remove_equalized_lr
from tests.support.assertions import assert_equal


def rebuild(attributes):
    layer = Rebuilds.__new__(Rebuilds)
    layer.__dict__.update(attributes)
    return layer


class Rebuilds(nn.Linear):
    """Copies itself by a function that takes all its attributes, as NVIDIA's layers do."""

    def __reduce__(self):
        return rebuild, (self.__dict__,), None


class Transposes(nn.Linear):
    """Saves and loads its weight as (in, out), by hooks on the instance."""

    def __init__(self, *args):
        super().__init__(*args)
        self._register_state_dict_hook(self._transpose_saved)
        self._register_load_state_dict_pre_hook(self._transpose_loaded)

    @staticmethod
    def _transpose_saved(module, state, prefix, metadata):
        state[f"{prefix}weight"] = state[f"{prefix}weight"].t()

    def _transpose_loaded(self, state, prefix, *rest):
        state[f"{prefix}weight"] = state[f"{prefix}weight"].t()


class Renames(nn.Linear):
    """Loads files in which its weight has an older name."""

    def __init__(self, *args):
        super().__init__(*args)
        self._register_load_state_dict_pre_hook(self._rename)

    def _rename(self, state, prefix, *rest):
        if f"{prefix}kernel" in state:
            state[f"{prefix}weight"] = state.pop(f"{prefix}kernel")


class SavesItself(nn.Linear):
    """Writes its own entries, as torch_geometric's Linear does."""

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        for name in ("weight", "bias"):
            value = getattr(self, name)
            destination[prefix + name] = value if keep_vars else value.detach()


class LoadsItself(nn.Linear):
    """Takes its weight out of the state_dict by itself."""

    def _load_from_state_dict(self, state, prefix, *rest):
        self.weight = nn.Parameter(state.pop(f"{prefix}weight").clone())
        super()._load_from_state_dict({**state, f"{prefix}weight": self.weight}, prefix, *rest)


class Looks(nn.Linear):
    """Has a hook that only looks at what is saved."""

    def __init__(self, *args):
        super().__init__(*args)
        self._register_state_dict_hook(self._look)

    @staticmethod
    def _look(module, state, prefix, metadata):
        module.__dict__["looked"] = state[f"{prefix}weight"].clone()


ZOO = [Rebuilds, Transposes, Renames, SavesItself, LoadsItself, Looks]
zoo = pytest.mark.parametrize("kind", ZOO)


def twins(kind):
    """A network with such a layer, plain and equalized with c = 0.5."""
    plain = nn.Sequential(kind(4, 3), nn.ReLU(), nn.Linear(3, 2))
    return plain, equalize_lr(copy.deepcopy(plain), init="keep", gain=1.0, fans={})


@zoo
def test_plain_files(kind):
    """What the plain layer saves, the equalized one loads, and the other way round."""
    plain, net = twins(kind)
    other = twins(kind)[1]
    other.load_state_dict(copy.deepcopy(plain.state_dict()))
    assert_equal(other[0].weight.detach(), plain[0].weight.detach())
    saved = plain_state_dict(net)
    expected = plain.state_dict()
    assert list(saved) == list(expected)
    for key, value in expected.items():
        torch.testing.assert_close(saved[key], value)


@zoo
def test_own_files_are_exact(kind):
    """What it saved itself comes back bit by bit, with a c that is no power of two, too."""
    net, other = (equalize_lr(kind(7, 3)) for _ in range(2))
    other.load_state_dict(net.state_dict())
    if kind is LoadsItself or kind is Transposes:  # which load effective values
        torch.testing.assert_close(other.weight_orig, net.weight_orig)
    else:
        assert_equal(other.weight_orig, net.weight_orig)
    assert is_equalized(other, "weight")


@zoo
def test_other_constants(kind):
    """What was saved under one c is the same function under another."""
    net, other = equalize_lr(kind(4, 3), gain=1.0), equalize_lr(kind(4, 3), gain=4.0)
    other.load_state_dict(net.state_dict())
    assert_equal(other.weight.detach(), net.weight.detach())


@zoo
@pytest.mark.parametrize("copies", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies(kind, copies):
    """A copy is equalized, computes the same, and is independent."""
    _, net = twins(kind)
    twin = copies(net)
    assert is_equalized(twin[0], "weight")
    assert_equal(twin(torch.ones(1, 4)), net(torch.ones(1, 4)))
    with torch.no_grad():
        twin[0].weight_orig.zero_()
    assert net[0].weight_orig.any()
    remove_equalized_lr(twin)
    assert type(twin[0]) is kind


def test_hooks_see_effective_values():
    """A hook on saving finds the weight under its plain name, as the layer computes with it."""
    layer = equalize_lr(Looks(4, 3))
    state = layer.state_dict()
    assert_equal(layer.looked, layer.weight.detach())
    assert "weight_orig" in state
    assert "weight" not in state


def test_older_names():
    """A load hook that renames an entry does its part."""
    layer = equalize_lr(Renames(4, 3), gain=1.0)
    layer.load_state_dict({"kernel": torch.ones(3, 4), "bias": torch.ones(3)})
    assert_equal(layer.weight_orig.detach(), torch.full((3, 4), 2.0))


@pytest.mark.parametrize(
    "put",
    [
        lambda layer: nn.utils.parametrizations.spectral_norm(layer, "weight_orig"),
        lambda layer: nn.utils.parametrizations.weight_norm(layer, "weight_orig"),
        lambda layer: nn.utils.parametrizations.orthogonal(layer, "weight_orig"),
        lambda layer: prune.l1_unstructured(layer, "weight_orig", amount=2),
    ],
    ids=["spectral_norm", "weight_norm", "orthogonal", "prune"],
)
def test_another_mechanism_on_the_stored_weight(put):
    """It loads under the same c, and under another it is refused with both numbers."""
    first, same, other = (equalize_lr(nn.Linear(4, 4), gain=gain) for gain in (1.0, 1.0, 2.0))
    for layer in (first, same, other):
        put(layer)
    same.load_state_dict(first.state_dict())
    with pytest.raises(
        RuntimeError, match="'weight_orig' was saved with c = 0.5 and is loaded with c = 1"
    ):
        other.load_state_dict(first.state_dict())


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_float8_checkpoints(dtype):
    """They load as on the plain layer."""
    layer, plain = equalize_lr(nn.Linear(4, 3), gain=1.0), nn.Linear(4, 3)
    state = {key: value.to(dtype) for key, value in plain.state_dict().items()}
    plain.load_state_dict(state)
    layer.load_state_dict(state)
    assert_equal(layer.weight.detach(), plain.weight.detach())


def test_tensors_that_cannot_be_divided_are_among_the_errors():
    """A subclass of Tensor that refuses to be divided is reported by load_state_dict."""

    class Fixed(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            if "div" in function.__name__:
                raise NotImplementedError
            return super().__torch_function__(function, types, args, kwargs or {})

    layer = equalize_lr(nn.Linear(4, 3))
    before = layer.weight_orig.clone()
    state = {"weight": torch.ones(3, 4).as_subclass(Fixed), "bias": torch.ones(3)}
    with pytest.raises(RuntimeError, match="'weight' is a Fixed that cannot be divided by c"):
        layer.load_state_dict(state)
    assert_equal(layer.weight_orig, before)


def test_the_law_would_see_a_skipped_hook():
    """Negative control: a hook that finds no entry of its name fails, as it did before."""
    layer = Transposes(4, 3)
    layer._parameters["weight_orig"] = layer._parameters.pop("weight")
    with pytest.raises(KeyError, match="weight"):
        layer.state_dict()


def test_a_layer_that_is_built_anew_is_refused():
    """A copy that would lose its constants is an error of its own."""

    class Anew(nn.Linear):
        def __reduce__(self):
            return nn.Linear, (4, 3)

    with pytest.raises(errors.NotRebuilt, match="Anew"):
        copy.deepcopy(equalize_lr(Anew(4, 3)))
