"""The texts of the errors: they name what was given and end with what to do."""

import ast
import copy
import inspect
import pickle
import re
from pathlib import Path

import pytest
import torch

from equalized_lr import equalize_lr, errors

EXAMPLES = {
    errors.NotAModule: ("dict",),
    errors.InvalidArgument: ("gain", -1, "a positive finite number"),
    errors.NothingToEqualize: ("Sequential", 3),
    errors.UnknownParameter: ("weigth", "Linear", ["weight", "bias"]),
    errors.UnknownFan: ("kernel", "Custom"),
    errors.AlreadyEqualized: ("weight", "Linear", 0.125),
    errors.AlreadyScaled: ("'3.weight' (EqualConv2d)", 0.0417, 4),
    errors.LazyWeight: ("'3.weight' (LazyLinear)",),
    errors.EmptyWeight: ("'3.weight' (Linear)", (4, 0)),
    errors.UnsupportedWeight: ("'3.weight' (Linear)", "of torch.int8"),
    errors.ShardedWeight: ("'3.weight' (Linear)",),
    errors.OffloadedWeight: ("'3.weight' (Linear)",),
    errors.ParallelizeFirst: ("weight", "Linear"),
    errors.OwnedWeight: ("'3.weight' (Linear)", "a SpectralNorm hook, which computes it"),
    errors.NameTaken: ("'3.weight' (Linear)", "weight_orig"),
    errors.FixedClass: ("'3.weight' (Final)", "Final", "Final is final"),
    errors.ConflictingTie: ([("'a.weight' (Linear)", 0.5), ("'b.weight' (Conv1d)", 0.25)],),
    errors.TiedToEqualized: ("'b.weight' (Linear)", "'a.weight_orig' (Linear)", 0.5),
    errors.TiedElsewhere: ("'head.weight' (Linear)", "Embedding"),
    errors.SharedMemory: ("'a.weight' (Linear)", "b.weight"),
    errors.TiedAssignment: ("'head.weight' (Linear)", "Embedding"),
    errors.Renormalized: ("'embed.weight' (Embedding)",),
    errors.Unscalable: ("'3.weight' (Linear)", 0.0001, "torch.float16"),
    errors.WrongGenerator: ("'3.weight' (Linear)", "cuda", "cpu"),
    errors.NotEqualized: ("'bias' of this Linear",),
    errors.WrappedOnTop: ("'3.weight' (Linear)", "another reparametrization of 'weight_orig'"),
    errors.HookLost: ("Linear",),
    errors.NotAParameter: ("weight", "Linear"),
    errors.NotAssignable: ("weight", "a Tensor"),
    errors.NotConvertible: ("Linear", "torch.jit.script"),
    errors.AmbiguousState: ("0.weight", "0.weight_orig"),
    errors.UnknownOptimizer: ("LBFGS",),
    errors.NoConstantTranslation: ("RAdam", "its first steps are those of SGD"),
    errors.UnknownState: ("Adam", "extra"),
    errors.NotTrained: ("Adam",),
    errors.SchedulerAttached: ("Adam",),
    errors.KeepsValues: ("Lookahead", "slow"),
    errors.OtherForm: ("Adam", 1.0, 0.125),
    errors.InExplicitRates: ("Adam",),
    errors.UnknownScale: ("Adam",),
    errors.NotCopyable: ("RAdam",),
    errors.ForeignState: ("0.weight_orig", "0.weight"),
    errors.UnknownVersion: ("this Linear", 2, 1),
    errors.UnknownFamily: ("a zoo", ["pggan", "stylegan"]),
    errors.UnknownFact: ("gain", "basicsr", ["lr_mul"]),
    errors.UnknownKeys: ("basicsr", [("a.weight", (3, 4))], ["stylegan"]),
    errors.UnfitTensor: ("a.weight", (3, 4), "has 2 axes", "5 axes"),
    errors.UnscalableValues: ("a.weight", 0.001, "torch.float16", True),
    errors.Undecided: ("alae", "form", ["explicit", "implicit"]),
    errors.AlreadyScaled: ("'0.weight' (EqualLinear)", 0.125, 3),
    errors.WrongForm: ("plain", "basicsr"),
    errors.NoConstants: (["a.weight_orig"],),
    errors.OutsidePrefix: ("decoder.", ["encoder.weight"]),
    errors.NotAStateDict: ("a list", ["g", "d"]),
    errors.UnreadableFile: ("a.pt", "EOFError: Ran out of input"),
    errors.UnsafeFile: ("a.pt", "it is a pickle of whole networks, with their code"),
    errors.UnwritableFile: ("a.pt", "No space left on device"),
    errors.MissingPackage: ("safetensors",),
    errors.NoSuchEntry: ("g", {"g_ema": 3}),
    errors.NothingToFollow: ("Sequential", "Adam"),
    errors.NothingMeasured: (12,),
    errors.AlreadyScaled: ("'0.weight' (EqualLinear)", 0.125, 3),
    errors.WrongForm: ("plain", "pggan"),
    errors.NoConstants: (["0.weight_orig"],),
    errors.OutsidePrefix: ("decoder.", ["encoder.weight"]),
    errors.LostData: ((4, 3),),
    errors.StaleWrite: ((4, 3),),
    errors.NotRebuilt: ("Linear",),
    errors.OtherScale: ("0.weight_orig", 0.5, 0.25),
    errors.DistributedWrapper: ("DistributedDataParallel",),
}
VERBS = {
    "Ask", "Assign", "Build", "Call", "Convert", "Delete", "Equalize", "Give", "Keep", "Leave",
    "Load", "Name", "Pass", "Put", "Read", "Remove", "Rename", "Run", "Set", "Tie", "To", "Untie",
    "Use",
    "expected", "remove",
}  # fmt: skip
SOURCES = Path(errors.__file__).parents[1]


each_error = pytest.mark.parametrize(
    ("kind", "facts"), EXAMPLES.items(), ids=[kind.__name__ for kind in EXAMPLES]
)


def names_a_cure(text):
    """Whether one of its sentences begins with what to do."""
    return any(part.split()[0] in VERBS for part in re.split(r"(?<=[.:;]) ", text))


def plain_facts(value):
    """The names and whole numbers in a fact, which may be a list or a dict."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        return [fact for part in value for fact in plain_facts(part)]
    if isinstance(value, bool):
        return []
    return [f"{value:.3g}" if isinstance(value, float) else str(value)]


def test_there_is_an_example_of_each():
    """Every error class of the package is in the table above, and in `__all__`."""
    classes = {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.EqualizedLRError) and kind is not errors.EqualizedLRError
    }
    assert classes == set(EXAMPLES)
    warnings = {"LeftAlone", "UnclearFan"}
    names = {kind.__name__ for kind in classes} | {"EqualizedLRError"} | warnings
    assert names == set(errors.__all__)


@each_error
def test_a_text_names_its_facts_and_a_cure(kind, facts):
    """Each text has all that was given, says what to do, and reads in a few lines of 80 columns."""
    text = str(kind(*facts))
    for fact in plain_facts(facts):
        assert fact in text
    assert names_a_cure(text)
    assert text.endswith(".")
    assert "\n" not in text
    assert "  " not in text
    assert not set("{}") & set(text)
    assert len(text) < 5 * 80


def test_a_text_without_a_cure_is_seen():
    """The check above is not content with a text that only complains."""
    assert not names_a_cure("'0.weight' cannot be equalized: its kind is unknown.")
    assert names_a_cure("'0.weight' cannot be equalized. Leave it out.")


@each_error
def test_errors_travel_between_processes(kind, facts):
    """An error can be pickled and copied, and is of torch's kind of error as well."""
    error = kind(*facts)
    error.add_note("in worker 1")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is kind
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)
        assert isinstance(twin, ValueError | TypeError | RuntimeError)


def test_whole_sentences():
    """Texts in full, as a user sees them, of facts, lists and a sentence that may be absent."""
    assert str(errors.AlreadyEqualized("weight", "Linear", 0.125)) == (
        "'weight' of this Linear is equalized already, with c = 0.125. "
        "To change its scale call remove_equalized_lr(layer, 'weight') first."
    )
    assert str(errors.LazyWeight("'3.weight' (LazyLinear)")) == (
        "'3.weight' (LazyLinear) is lazy: it has no shape before the first forward, so its fan is "
        "unknown. Run one forward with real input, then call equalize_lr."
    )
    assert str(errors.ConflictingTie([("'a.weight'", 0.5), ("'b.weight'", 0.25)])) == (
        "one shared parameter cannot have two scales: 'a.weight' needs c = 0.5, 'b.weight' needs "
        "c = 0.25. Untie the layers, or leave one out with where= (it then follows the other)."
    )
    passing = "Pass the entry of one network, such as checkpoint['g_ema'], without its optimizer."
    assert str(errors.NotAStateDict("a list", [])) == (
        f"expected the state_dict of one network, tensors by name, got a list. {passing}"
    )
    assert str(errors.NotAStateDict("several things in one", ["g", "d"])) == (
        "expected the state_dict of one network, tensors by name, got several things in one. "
        f"It holds: g, d. {passing}"
    )


def test_unknown_keys_are_listed_up_to_fifty():
    """All of them stay with the error, for those who catch it."""
    keys = [(f"a.{i}", (2,)) for i in range(60)]
    error = errors.UnknownKeys("alae", keys, known=1)
    assert "60 key(s)" in str(error)
    assert "'a.49' (2,) and 10 more. Keys are not guessed" in str(error)
    assert "'a.50'" not in str(error)
    assert pickle.loads(pickle.dumps(error)).keys == keys


def test_sentences_that_depend_on_the_facts():
    """A count of none, an operation and an entry that was not named have words of their own."""
    assert "its 2 known weight(s) are equalized already" in str(errors.NothingToEqualize("Net", 2))
    assert "has no layer whose weights" in str(errors.NothingToEqualize("Net", 0))
    assert "(it has: none)" in str(errors.UnknownParameter("weight", "Net", []))
    assert "'a' multiplied by" in str(errors.UnscalableValues("a", 2.0, "torch.float16", False))
    assert "no tensors by name, but a list. Give" in str(errors.NoSuchEntry(None, {}, "a list"))
    assert "the nearest is 'stylegan'" in str(
        errors.UnknownFamily("stilegan", ["alae", "stylegan"])
    )
    assert "this one knows no key of it" in str(errors.UnknownKeys("alae", [("a", (2,))]))
    assert "Convert them with to_plain" in str(errors.WrongForm("stored", "pggan"))
    assert str(errors.MissingPackage("numpy")).startswith("this format needs the package numpy, ")


def test_articles():
    """A class name has the article that goes with its first letter."""
    assert "tied to an Embedding: " in str(errors.TiedAssignment("'weight'", "Embedding"))
    assert "tied to a Linear: " in str(errors.TiedAssignment("'weight'", "Linear"))


def test_facts_are_shown_as_they_are():
    """Braces in a fact are no fields, and a list that was given is shown as a list."""
    assert "{x}='{y}' cannot" in str(errors.InvalidArgument("{x}", "{y}", "{z}"))
    assert "params=[1, 2] cannot" in str(errors.InvalidArgument("params", [1, 2], "parameters"))
    assert str(errors.EqualizedLRError("as it is")) == "as it is"


def test_the_number_of_facts_is_checked():
    """Too few and too many are a mistake of the caller's, which names the fields."""
    for facts in (), ("'weight'",), ("'weight'", (2, 0), "more"):
        with pytest.raises(
            TypeError, match=f"EmptyWeight takes where, shape, got {len(facts)} fact"
        ):
            errors.EmptyWeight(*facts)


def wrong_calls(source):
    """The calls of error classes in a source with another number of facts than their fields."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    for call in calls:
        kind = getattr(errors, getattr(call.func, "id", ""), None)
        templated = kind and kind.__init__ is errors.EqualizedLRError.__init__
        if templated and len(call.args) != len(kind.fields()):
            yield ast.unparse(call)


def test_the_library_gives_as_many_facts_as_there_are_fields():
    """What a type checker sees for other calls, since a text has its fields only at run time."""
    assert list(wrong_calls("raise EmptyWeight(where)")) == ["EmptyWeight(where)"]
    found = {path.name: list(wrong_calls(path.read_text())) for path in SOURCES.rglob("*.py")}
    assert not {name: calls for name, calls in found.items() if calls}


def test_a_shape_is_a_plain_tuple():
    """The shape of an empty weight is written as users write it, not as torch.Size."""
    with pytest.warns(UserWarning, match="zero-element"):
        layer = torch.nn.Linear(0, 4)
    with pytest.raises(errors.EmptyWeight, match=r"\(shape \(4, 0\)\)"):
        equalize_lr(layer)
