"""The texts of the errors: they name what was given and end with what to do."""

import inspect
import pickle

import pytest

from equalized_lr import errors

EXAMPLES = {
    errors.NotAModule: ({"a": 1},),
    errors.InvalidArgument: ("gain", -1, "a positive finite number"),
    errors.NothingToEqualize: ("Sequential", 3),
    errors.UnknownParameter: ("weigth", "Linear", ["weight", "bias"]),
    errors.UnknownFan: ("kernel", "Custom"),
    errors.AlreadyEqualized: ("weight", "Linear", 0.125),
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
    errors.UnknownFamily: ("stylegan4", ["pggan", "stylegan"]),
    errors.UnknownFact: ("gain", "basicsr", ["lr_mul"]),
    errors.UnknownKeys: ("basicsr", [("a.weight", (3, 4))], ["stylegan"]),
    errors.UnfitTensor: ("a.weight", (3, 4), "has 2 axes", "5 axes"),
    errors.UnscalableValues: ("a.weight", 0.001, "torch.float16", True),
    errors.Undecided: ("alae", "form", ["explicit", "implicit"]),
    errors.NotAStateDict: ("a list", ["g", "d"]),
    errors.UnreadableFile: ("a.pt", "EOFError: Ran out of input"),
    errors.UnsafeFile: ("a.pt", "it is a pickle of whole networks, with their code"),
    errors.UnwritableFile: ("a.pt", "No space left on device"),
    errors.MissingPackage: ("safetensors",),
    errors.NoSuchEntry: ("g", {"g_ema": 3}),
    errors.NothingToFollow: ("Sequential", "Adam"),
    errors.NothingMeasured: (12,),
}
CURES = (
    "Pass", "expected", "Name", "Give", "To change", "Run", "Leave", "Equalize", "Call", "call",
    "Remove", "Rename", "Tie", "Untie", "Ask", "Keep", "Assign", "Delete", "Use", "Put", "Build",
    "write", "Set", "Convert", "Load", "remove those",
)  # fmt: skip


each_error = pytest.mark.parametrize(
    ("kind", "facts"), EXAMPLES.items(), ids=[kind.__name__ for kind in EXAMPLES]
)


def test_there_is_an_example_of_each():
    """Every error class of the module is in the table above."""
    classes = {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.EqualizedLRError) and kind is not errors.EqualizedLRError
    }
    assert classes == set(EXAMPLES)


@each_error
def test_a_text_names_its_facts_and_a_cure(kind, facts):
    """Each text holds what was given, says what to do, and reads in a few lines of 80 columns."""
    text = str(kind(*facts))
    for fact in facts:
        if isinstance(fact, str):
            assert fact in text
    assert any(cure in text for cure in CURES)
    assert text.endswith(".")
    assert "  " not in text
    assert len(text) < 5 * 80


@each_error
def test_errors_travel_between_processes(kind, facts):
    """An error can be pickled, as workers do, and is of torch's kind of error as well."""
    error = kind(*facts)
    twin = pickle.loads(pickle.dumps(error))
    assert type(twin) is kind
    assert str(twin) == str(error)
    assert isinstance(twin, ValueError | TypeError | RuntimeError)


def test_whole_sentences():
    """Two texts in full, as a user sees them."""
    assert str(errors.AlreadyEqualized("weight", "Linear", 0.125)) == (
        "'weight' of this Linear is equalized already, with c = 0.125. "
        "To change its scale call remove_equalized_lr(layer, 'weight') first."
    )
    assert str(errors.LazyWeight("'3.weight' (LazyLinear)")) == (
        "'3.weight' (LazyLinear) is lazy: it has no shape before the first forward, so its fan is "
        "unknown. Run one forward with real input, then call equalize_lr."
    )
