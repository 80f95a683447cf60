"""Every refusal: its own class, a text that says what to do, and a model left as it was."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from equalized_lr import Fan, equalize_lr, errors, fans, is_equalized, remove_equalized_lr
from tests.support.assertions import Snapshot


def with_first(layer):
    """A model whose first layers could be equalized and whose last one is the given layer."""
    return nn.Sequential(nn.Linear(4, 4), nn.Conv1d(4, 4, 3), layer)


def integer():
    layer = nn.Linear(4, 4)
    layer.weight = nn.Parameter(torch.ones(4, 4, dtype=torch.int8), requires_grad=False)
    return layer


def sparse():
    layer = nn.Linear(4, 4)
    layer.weight = nn.Parameter(torch.eye(4).to_sparse())
    return layer


def quantized():
    layer = nn.Linear(4, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces the end of quantized tensors
        values = torch.quantize_per_tensor(torch.ones(4, 4), 0.1, 0, torch.qint8)
    layer.weight = nn.Parameter(values, requires_grad=False)
    return layer


def name_taken():
    layer = nn.Linear(4, 4)
    layer.register_buffer("weight_orig", torch.zeros(1))
    return layer


def without_parameter():
    layer = nn.Linear(4, 4)
    weight = layer.weight.detach()
    del layer.weight
    layer.weight = weight
    return layer


def with_a_float16_weight(value):
    layer = nn.Linear(4, 4, bias=False).half()
    nn.init.constant_(layer.weight, value)
    return layer


def shortened_embedding():
    embed, head = nn.Embedding(4, 4, max_norm=1.0), nn.Linear(4, 4, bias=False)
    head.weight = embed.weight
    return nn.Sequential(head, embed)


def tie_of_two_fans():
    narrow, wide = nn.Linear(4, 4, bias=False), nn.Conv1d(4, 4, 1, stride=2, bias=False)
    wide.weight = nn.Parameter(torch.ones(4, 4, 1))
    transposed = nn.ConvTranspose1d(4, 4, 1, stride=2, bias=False)
    transposed.weight = wide.weight
    return nn.Sequential(narrow, wide, transposed)


def empty():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of an initialization that does nothing
        return nn.Linear(0, 4)


def parametrized_bias():
    layer = nn.Linear(4, 4)
    nn.utils.parametrize.register_parametrization(layer, "bias", nn.Identity())
    return layer


class Final(type(nn.Module)):
    """A metaclass whose classes cannot have subclasses."""

    def __new__(cls, name, bases, body):
        if any(isinstance(base, Final) for base in bases):
            raise TypeError(f"{name} is final")
        return super().__new__(cls, name, bases, body)


class FinalLinear(nn.Linear, metaclass=Final):
    """A layer of a final class."""


LAST_LAYERS = {
    "lazy": (lambda: nn.LazyLinear(3), errors.LazyWeight, "Run one forward"),
    "empty": (empty, errors.EmptyWeight, r"shape \(4, 0\).*where="),
    "integer": (integer, errors.UnsupportedWeight, "of torch.int8"),
    "quantized": (quantized, errors.UnsupportedWeight, "quantized"),
    "sparse": (sparse, errors.UnsupportedWeight, "sparse_coo"),
    "spectral_norm": (lambda: spectral_norm(nn.Linear(4, 4)), errors.OwnedWeight, "SpectralNorm"),
    "parametrized spectral_norm": (
        lambda: parametrizations.spectral_norm(nn.Linear(4, 4)),
        errors.OwnedWeight,
        "parametrize",
    ),
    "parametrized weight_norm": (
        lambda: parametrizations.weight_norm(nn.Linear(4, 4)),
        errors.OwnedWeight,
        "parametrize",
    ),
    "parametrized bias": (parametrized_bias, errors.OwnedWeight, "on 'bias'"),
    "prune": (
        lambda: prune.l1_unstructured(nn.Linear(4, 4), "weight", 0.5),
        errors.OwnedWeight,
        "L1Unstructured",
    ),
    "computed": (without_parameter, errors.OwnedWeight, "no Parameter"),
    "name taken": (name_taken, errors.NameTaken, "stored as 'weight_orig'.*Rename"),
    "final class": (lambda: FinalLinear(4, 4), errors.FixedClass, "FinalLinear.*is final"),
    "max_norm": (shortened_embedding, errors.Renormalized, "max_norm=None"),
    "conflicting tie": (tie_of_two_fans, errors.ConflictingTie, "two scales"),
}


@pytest.mark.parametrize(("make", "error", "text"), LAST_LAYERS.values(), ids=LAST_LAYERS)
def test_a_refusal_in_the_last_layer_leaves_the_first(make, error, text):
    """Whichever layer it is found in, nothing at all has changed."""
    net = with_first(make())
    snapshot = Snapshot(net)
    with pytest.raises(error, match=text) as refusal:
        equalize_lr(net)
    snapshot.assert_unchanged()
    assert isinstance(refusal.value, errors.EqualizedLRError)
    assert isinstance(refusal.value, ValueError | TypeError | RuntimeError)
    assert "'2" in str(refusal.value)


@pytest.mark.parametrize(("make", "error", "text"), LAST_LAYERS.values(), ids=LAST_LAYERS)
def test_where_is_a_way_out(make, error, text):
    """Leaving the layer out with `where`, as the texts advise, equalizes the others."""
    net = with_first(make())
    equalize_lr(net, where=lambda name, module: not name.startswith("2"))
    assert [is_equalized(layer) for layer in net] == [True, True, False]


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
def test_the_old_weight_norm():
    """torch's hook-based weight_norm owns its weight, too."""
    net = with_first(weight_norm(nn.Linear(4, 4)))
    snapshot = Snapshot(net)
    with pytest.raises(errors.OwnedWeight, match="WeightNorm"):
        equalize_lr(net)
    snapshot.assert_unchanged()


ARGUMENTS = {
    "gain=0": ({"gain": 0}, "gain=0 cannot be used"),
    "gain=-1": ({"gain": -1.0}, "positive finite"),
    "gain=inf": ({"gain": float("inf")}, "positive finite"),
    "gain=nan": ({"gain": float("nan")}, "positive finite"),
    "gain=True": ({"gain": True}, "gain=True"),
    "gain=None": ({"gain": None}, "gain=None"),
    "gain of a strange name": ({"gain": "swoosh"}, "calculate_gain"),
    "gain of two": ({"gain": torch.ones(2)}, "positive finite"),
    "lr_mul=0": ({"lr_mul": 0}, "lr_mul=0"),
    "lr_mul by name": ({"lr_mul": "relu"}, "lr_mul='relu'"),
    "mode": ({"mode": "fan_avg"}, "'fan_in' or 'fan_out'"),
    "init": ({"init": "zeros"}, "init='zeros' .*'normal' or 'keep'"),
    "fan without a name": ({"fan": 3}, "fan=3 .*name="),
    "fan=0": ({"name": "weight", "fan": 0}, "fan=0"),
    "where with a name": ({"name": "weight", "where": lambda *_: True}, "where=<.*one parameter"),
    "c underflows": ({"gain": 1e-300, "lr_mul": 1e-300}, "gain / sqrt"),
    "c overflows": ({"gain": 1e300, "lr_mul": 1e300}, "gain / sqrt"),
}


@pytest.mark.parametrize(("options", "text"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments_that_cannot_be_used(options, text):
    """A bad argument is named, with what was expected, and nothing has changed."""
    layer = nn.Linear(4, 4)
    snapshot = Snapshot(layer)
    with pytest.raises(errors.InvalidArgument, match=text.replace("(", r"\(")):
        equalize_lr(layer, **options)
    snapshot.assert_unchanged()


def test_nothing_to_equalize():
    """A model without weights, a second call, and a `where` that selects none are errors."""
    with pytest.raises(
        errors.NothingToEqualize, match="in this Sequential: it has no layer whose weights"
    ):
        equalize_lr(nn.Sequential(nn.ReLU(), nn.BatchNorm1d(3)))
    net = equalize_lr(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(errors.NothingToEqualize, match="1 known weight"):
        equalize_lr(net)
    with pytest.raises(errors.NothingToEqualize, match="`where` selects none"):
        equalize_lr(nn.Linear(2, 2), where=lambda *_: False)


def test_unknown_names():
    """A name that is no parameter, a child's name, and a None parameter are errors."""
    net = nn.Sequential(nn.Linear(2, 2))
    for name in ("weight", "0.weight", "0"):
        with pytest.raises(errors.UnknownParameter, match="it has: none"):
            equalize_lr(net, name)
    with pytest.raises(errors.UnknownParameter, match="it has: weight"):
        equalize_lr(nn.Linear(2, 2, bias=False), "bias", fan=2)
    with pytest.raises(errors.UnknownFan, match=r"@fans\.register\(LayerNorm\)"):
        equalize_lr(nn.LayerNorm(3), "weight")


def test_twice():
    """Naming an equalized parameter again is an error, also a bias of another lr_mul."""
    layer = equalize_lr(nn.MultiheadAttention(4, 2, kdim=3), "q_proj_weight", lr_mul=0.5)
    snapshot = Snapshot(layer)
    with pytest.raises(errors.AlreadyEqualized, match="'q_proj_weight' of this Multihead"):
        equalize_lr(layer, "q_proj_weight")
    with pytest.raises(errors.AlreadyEqualized, match=r"'in_proj_bias' of this Multi.*c = 0\.5"):
        equalize_lr(layer, "k_proj_weight")
    snapshot.assert_unchanged()
    equalize_lr(layer, "k_proj_weight", lr_mul=0.5)


def test_a_tie_across_the_border():
    """A weight that a module outside of the given one shares is found, with the other's kind."""
    net = nn.ModuleDict({"embed": nn.Embedding(4, 4), "head": nn.Linear(4, 4, bias=False)})
    net["head"].weight = net["embed"].weight
    snapshot = Snapshot(net)
    text = r"'weight' \(Linear\) is shared with an Embedding outside"
    with pytest.raises(errors.TiedElsewhere, match=text):
        equalize_lr(net["head"])
    snapshot.assert_unchanged()
    equalize_lr(net)
    snapshot = Snapshot(net)
    with pytest.raises(errors.TiedElsewhere):
        remove_equalized_lr(net["head"])
    snapshot.assert_unchanged()


def test_a_tie_to_an_equalized_layer():
    """A plain layer that holds the stored parameter of an equalized one cannot be equalized."""
    net = nn.Sequential(equalize_lr(nn.Linear(4, 4)), nn.Linear(4, 4))
    net[1].weight = net[0].weight_orig
    snapshot = Snapshot(net)
    text = r"'1.weight' \(Linear\) is the stored parameter of '0.weight_orig' \(Linear\)"
    with pytest.raises(errors.TiedToEqualized, match=text):
        equalize_lr(net)
    snapshot.assert_unchanged()


@pytest.mark.parametrize(("lr_mul", "value"), [(1e-3, 300.0), (1e-2, 2000.0)])
def test_values_that_do_not_fit_into_half_precision(lr_mul, value):
    """With init="keep" a weight divided by c may leave float16: an error, not infinity."""
    layer = with_a_float16_weight(value)
    snapshot = Snapshot(layer)
    text = r"^'weight' \(Linear\) divided by .*torch\.float16.*float32"
    with pytest.raises(errors.Unscalable, match=text):
        equalize_lr(layer, init="keep", lr_mul=lr_mul)
    with pytest.raises(errors.Unscalable, match=text):
        equalize_lr(layer, lr_mul=1e-5)
    snapshot.assert_unchanged()
    equalize_lr(layer, init="keep")
    assert layer.weight_orig.isfinite().all()


@pytest.mark.parametrize("fan", [0, -1, float("nan")])
def test_a_registered_fan_that_is_no_number_of_connections(fan):
    """A registered function that returns nonsense is named by the error."""

    class Strange(nn.Linear):
        pass

    fans.register(Strange, lambda layer: {"weight": Fan(fan, 1)})
    with pytest.raises(errors.InvalidArgument, match="fan_in="):
        equalize_lr(Strange(4, 4))


def test_a_generator_of_another_device():
    """A generator that is not for the weight's device is refused before anything is drawn."""
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4, device="meta"))
    snapshot = Snapshot(net)
    text = r"^'1.weight' \(Linear\) is on meta, but .* on cpu.*Generator\('meta'\)"
    with pytest.raises(errors.WrongGenerator, match=text):
        equalize_lr(net, generator=torch.Generator())
    snapshot.assert_unchanged()


def test_shards_are_refused():
    """FSDP1's views are refused; for FSDP2's DTensors see tests/distributed."""
    for shard in (torch.ones(16), torch.ones(0)):
        layer = nn.Linear(4, 4)
        layer.weight.data = shard
        layer.weight._fsdp_flattened = True
        text = r"^'weight' \(Linear\) .*before fully_shard"
        with pytest.raises(errors.ShardedWeight, match=text):
            equalize_lr(layer)


def test_shards_are_not_given_back():
    """A model that was sharded after equalizing keeps its form; nothing changes."""
    layer = equalize_lr(nn.Linear(4, 4))
    layer.weight_orig._fsdp_flattened = True
    snapshot = Snapshot(layer)
    with pytest.raises(errors.ShardedWeight, match=r"^'weight' \(Linear\) .*not sharded"):
        remove_equalized_lr(layer)
    snapshot.assert_unchanged()


@pytest.mark.parametrize("verb", [equalize_lr, remove_equalized_lr])
def test_what_is_offloaded_is_refused(verb):
    """A meta tensor where accelerate has put a hook stands for values that are elsewhere."""
    layer = nn.Linear(4, 4, device="meta")
    if verb is remove_equalized_lr:
        equalize_lr(layer)
    layer._hf_hook = object()
    with pytest.raises(errors.OffloadedWeight, match=r"^'weight' \(Linear\) is offloaded"):
        verb(layer)
    del layer._hf_hook
    verb(layer)


class WrappedForProcesses(DistributedDataParallel):
    """A wrapper that needs no group of processes."""

    def __init__(self, module):
        nn.Module.__init__(self)
        self.module = module


def test_a_wrapper_for_several_processes_is_named():
    """It has noted the Parameters' names, wherever in the model it is."""
    net = nn.Sequential(WrappedForProcesses(nn.Linear(4, 4)))
    with pytest.raises(errors.DistributedWrapper, match="WrappedForProcesses"):
        equalize_lr(net)


def test_any_exception_rolls_back():
    """Whatever goes wrong while classes are exchanged, the layers before it are plain again."""

    class Interrupting(type(nn.Module)):
        def __new__(cls, name, bases, body):
            if any(isinstance(base, Interrupting) for base in bases):
                raise KeyboardInterrupt
            return super().__new__(cls, name, bases, body)

    class Interrupted(nn.Linear, metaclass=Interrupting):
        pass

    net = with_first(Interrupted(4, 4))
    snapshot = Snapshot(net)
    with pytest.raises(KeyboardInterrupt):
        equalize_lr(net)
    snapshot.assert_unchanged()


def test_not_equalized():
    """Removing where nothing is equalized is an error, by name and for a whole model."""
    with pytest.raises(errors.NotEqualized, match="^this Linear is not"):
        remove_equalized_lr(nn.Linear(2, 2))
    layer = equalize_lr(nn.Linear(2, 2))
    for name in ("bias", "weight_orig", "nonsense"):
        with pytest.raises(errors.NotEqualized, match=f"'{name}' of this Linear"):
            remove_equalized_lr(layer, name)
    assert is_equalized(layer)


def stacked_spectral_norm(layer):
    parametrizations.spectral_norm(layer, "weight_orig")


def stacked_prune(layer):
    prune.identity(layer, "weight_orig")


def stacked_bias(layer):
    nn.utils.parametrize.register_parametrization(layer, "bias", nn.Identity())


@pytest.mark.parametrize("stack", [stacked_spectral_norm, stacked_prune, stacked_bias])
def test_removal_under_something_else(stack):
    """What was put on top has to go first; the refusal changes nothing, in no layer."""
    net = equalize_lr(with_first(nn.Linear(4, 4)))
    stack(net[2])
    before = [type(layer) for layer in net]
    with pytest.raises(errors.WrappedOnTop, match="reverse order"):
        remove_equalized_lr(net)
    assert [type(layer) for layer in net] == before
    assert [is_equalized(layer) for layer in net] == [True] * 3


def test_what_is_put_on_the_weight_itself_is_refused_by_torch():
    """torch's own reparametrizations of `weight` do not find a Parameter: an error, no harm."""
    for stack in (spectral_norm, lambda m: prune.identity(m, "weight")):
        layer = equalize_lr(nn.Linear(4, 4))
        weight = layer.weight.detach()
        with pytest.raises((KeyError, ValueError)):
            stack(layer)
        assert torch.equal(layer.weight, weight)


CONVERTERS = {
    "script": (torch.jit.script, "compiled by torch.jit.script"),
    "quantized": (
        lambda net: torch.ao.quantization.quantize_dynamic(net, {nn.Linear}),
        "quantized",
    ),
}


@pytest.mark.filterwarnings("ignore:.*is deprecated", "ignore:.*quantize.*:UserWarning")
@pytest.mark.parametrize("name", [None, "weight"])
@pytest.mark.parametrize(("convert", "how"), CONVERTERS.values(), ids=CONVERTERS)
def test_converted_models_are_told_the_order(convert, how, name):
    """A compiled or quantized model is to be equalized before; the text says so."""
    net = convert(nn.Sequential(nn.Linear(3, 3)))
    layer = net if name is None else getattr(net, "0")
    where = "'0'" if how == "quantized" and name is None else f"this {type(layer).__name__}"
    text = f"^{where} is {how}: .*Equalize before you quantize or convert"
    with pytest.raises(errors.UnsupportedWeight, match=text):
        equalize_lr(layer, name)


def test_exceptions_come_first():
    """After a whole-model call the way to another scale is said."""
    net = equalize_lr(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)))
    with pytest.raises(errors.NothingToEqualize, match="Call remove_equalized_lr on a layer"):
        equalize_lr(net[1], gain=1.0)
    equalize_lr(remove_equalized_lr(net[1]), gain=1.0)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        (1.0, "name='float' cannot be used.*gain=, optimizer="),
        (torch.optim.SGD([torch.zeros(1)]), "name='SGD'"),
        ("0.weight", r"Pass model.get_submodule\('0'\) and 'weight'"),
        ("0", "Pass the module that holds it"),
    ],
)
def test_names_that_are_none(name, match):
    """A gain, an optimizer or a path in the place of the name is told where it belongs."""
    with pytest.raises(errors.EqualizedLRError, match=match):
        equalize_lr(nn.Sequential(nn.Linear(3, 3)), name)
