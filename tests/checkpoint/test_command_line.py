"""The command line: what it prints, what it writes, and how it fails."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

import equalized_lr
from equalized_lr import equalize_lr, plain_state_dict
from equalized_lr.__main__ import main
from equalized_lr.checkpoint import command_line, to_plain
from tests.support.assertions import assert_equal, assert_ulps
from tests.support.samples import NETWORKS, stored

STATE = {
    "style.1.weight": torch.arange(16.0).reshape(4, 4),
    "style.1.bias": torch.ones(4),
    "conv1.noise.weight": torch.zeros(1),
}


@pytest.fixture
def source(tmp_path):
    torch.save({"g_ema": STATE, "g_optim": {"state": {}}}, tmp_path / "in.pt")
    return tmp_path / "in.pt"


def run(*arguments):
    return main([str(argument) for argument in arguments])


def test_convert(source, capsys):
    """It writes effective weights and prints what was scaled, by how much, and what was not."""
    target = source.with_name("out.pt")
    options = ("--family", "rosinality-stylegan2", "--entry", "g_ema", "--fact", "lr_mul=0.5")
    assert run("convert", source, target, *options) == 0
    expected = to_plain(STATE, "rosinality-stylegan2", lr_mul=0.5)
    for key, value in torch.load(target, weights_only=True).items():
        assert_equal(value, expected[key])
    assert capsys.readouterr().out.splitlines() == [
        "key                                  shape             factor what",
        "style.1.weight                       4x4                 0.25 mapping",
        "style.1.bias                         4                    0.5 mapping bias",
        "conv1.noise.weight                   1                      - noise strength",
        "2 scaled, 1 left alone",
    ]


@pytest.mark.parametrize("network", [name for name in NETWORKS if name != "equalized-lr"])
def test_convert_and_back(network, tmp_path, capsys):
    """Through files of numpy and torch, every network comes back as it was."""
    family, facts, state = stored(network)
    options = [f"{key}={value}" for key, value in facts.items()]
    facts_in = ["--fact", *options] if options else []
    facts_out = ["--to-fact", *options] if options else []
    np.savez(tmp_path / "in.npz", **{key: value.numpy() for key, value in state.items()})
    plain, again = tmp_path / "plain.pt", tmp_path / "again.npz"
    if network == "stylegan-1-d":
        facts_in, facts_out = ["--fact", "version=1"], ["--to-fact", "version=1"]
    assert run("convert", tmp_path / "in.npz", plain, "--family", family, *facts_in) == 0
    assert run("convert", plain, again, "--family", "plain", "--to", family, *facts_out) == 0
    with np.load(again) as archive:
        for key, value in state.items():
            assert_ulps(torch.from_numpy(archive[key]), value, 2)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert printed.isascii()


def test_describe(source, capsys):
    """It lists what a file holds, with deviations, and says which family that looks like."""
    assert run("describe", source) == 0
    assert capsys.readouterr().out.splitlines() == [
        "g_ema: 3 tensors, like rosinality-stylegan2",
        "key                                  shape                std dtype",
        "style.1.weight                       4x4                4.761 float32",
        "style.1.bias                         4                      0 float32",
        "conv1.noise.weight                   1                      - float32",
        "",
    ]


def test_describe_anything(tmp_path, capsys):
    """Strange names, tensors and values are no reason to fail."""
    content = {
        "x" * 100: torch.ones(2, dtype=torch.bool),
        "ü": torch.ones(2, dtype=torch.complex64),
        "sparse": torch.ones(2, 2).to_sparse(),
        "step": 3,
        4: torch.ones(2),
    }
    torch.save(content, tmp_path / "odd.pt")
    assert run("describe", tmp_path / "odd.pt") == 0
    printed = capsys.readouterr().out
    assert "odd.pt: 3 tensors, like no family that is known" in printed
    assert printed.isascii()
    assert max(map(len, printed.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--family", "rosinality-stylegan2"], "'g_ema' (3 keys). Name one with --entry."),
        (["--family", "basicsr", "--entry", "g_ema"], "like rosinality-stylegan2"),
        (["--family", "basicsr", "--entry", "g"], "no entry 'g'"),
        (
            ["--family", "rosinality-stylegan2", "--entry", "g_ema", "--fact", "gain=1"],
            "'gain' is no fact of rosinality-stylegan2",
        ),
        (
            ["--family", "rosinality-stylegan2", "--entry", "g_ema", "--to", "basicsr"],
            "not known in basicsr",
        ),
    ],
)
def test_refusals(source, capsys, arguments, message):
    """A refusal is exit code 1, one message on stderr, and nothing written."""
    before = set(source.parent.iterdir())
    assert run("convert", source, source.with_name("out.pt"), *arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert set(source.parent.iterdir()) == before


@pytest.mark.parametrize(
    "arguments",
    [[], ["convert"], ["convert", "a", "b"], ["convert", "a", "b", "--family", "gan"], ["describe"],
     ["convert", "a", "b", "--family", "alae", "--fact", "form"],
     ["convert", "a", "b", "--family", "alae", "--fact", "form="],
     ["convert", "a", "b", "--family", "alae", "--to", "gan"]],
)  # fmt: skip
def test_wrong_usage(arguments, capsys):
    """What cannot be understood is exit code 2 and one line that says where the usage is."""
    with pytest.raises(SystemExit) as exit_:
        run(*arguments)
    assert exit_.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith("error: ")
    assert line.endswith("--help\n")
    assert line.count("\n") == 1


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_malicious_file_in_a_process_of_its_own(tmp_path):
    """The real command: code in a file is not run, exit code 1, no output, no traceback."""
    bad, out, trace = tmp_path / "bad.pt", tmp_path / "out.pt", tmp_path / "executed"
    bad.write_bytes(pickle.dumps({"a": Bomb(str(trace))}, protocol=2))
    command = [sys.executable, "-m", "equalized_lr", "convert", str(bad), str(out)]
    done = subprocess.run(
        [*command, "--family", "alae"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {bad} is not read")
    assert "Traceback" not in done.stderr
    assert not trace.exists()
    assert not out.exists()


def test_facts_add_up(tmp_path, capsys):
    """Facts may be given behind one flag or several; a value may have an equals sign in it."""
    parser = command_line._parser("1.0")
    command = ["convert", "a", "b", "--family", "alae", "--fact", "lr_mul=0.5", "gain=2"]
    options = parser.parse_args([*command, "--fact", "form=a=b"])
    assert dict(options.fact) == {"lr_mul": 0.5, "gain": 2, "form": "a=b"}
    assert options.to_fact == []


def test_two_tables(source, capsys):
    """From one family to another both conversions are listed, each in its direction."""
    options = ("--family", "rosinality-stylegan2", "--to", "rosinality-stylegan2")
    facts = ("--entry", "g_ema", "--fact", "lr_mul=0.5", "--to-fact", "lr_mul=0.25")
    assert run("convert", source, source.with_name("out.pt"), *options, *facts) == 0
    there, back = capsys.readouterr().out.split("\n\n")
    assert there.splitlines()[1].split()[2] == "0.25"
    assert back.splitlines()[1].split()[2] == "8"


def test_nothing_to_convert(source, capsys):
    """A copy of plain weights says that it is one."""
    options = ("--family", "plain", "--entry", "g_ema")
    assert run("convert", source, source.with_name("out.pt"), *options) == 0
    assert capsys.readouterr().out == "nothing to convert\n"


def test_describe_one_of_several(tmp_path, capsys):
    """With --entry one network is listed, without it all of them, and all likely families."""
    torch.save({"g": STATE, "g_ema": STATE}, tmp_path / "two.pt")
    for options, titles in (((), ["g", "g_ema"]), (("--entry", "g"), ["g"])):
        assert run("describe", tmp_path / "two.pt", *options) == 0
        printed = capsys.readouterr().out.splitlines()
        networks = [line for line in printed if "tensors, like" in line]
        assert [line.split(":")[0] for line in networks] == titles


def test_help(capsys):
    """The usage names the command as it is called, its commands, and their arguments."""
    for arguments, usage in (
        (["-h"], "usage: python -m equalized_lr [-h] [--version] COMMAND ..."),
        (["describe", "-h"], "usage: python -m equalized_lr describe [-h] [--entry ENTRY] FILE"),
    ):
        with pytest.raises(SystemExit):
            run(*arguments)
        assert capsys.readouterr().out.startswith(usage)
    with pytest.raises(SystemExit):
        run("convert", "-h")
    words = " ".join(capsys.readouterr().out.split())
    assert "IN .pt, .safetensors or .npz OUT .pt, .safetensors or .npz" in words
    assert "[--fact NAME=VALUE [NAME=VALUE ...]]" in words
    for meaning in ("where IN comes from", "what OUT does not say, such as lr_mul=0.01"):
        assert meaning in words


def test_the_version(capsys):
    """--version names the distribution and its version."""
    with pytest.raises(SystemExit) as exit_:
        run("--version")
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"equalized-lr {equalized_lr.__version__}\n"


def test_an_unknown_family_is_one_line_with_the_nearest_name(capsys):
    """A slip of the pen is answered by the name that was meant."""
    with pytest.raises(SystemExit):
        run("convert", "a", "b", "--family", "stylegan2ada")
    assert capsys.readouterr().err == (
        "error: argument --family: no family is called 'stylegan2ada'. Name another: the nearest "
        "is 'stylegan2-ada'. For the usage: python -m equalized_lr convert --help\n"
    )


OPTIONS = ("--family", "rosinality-stylegan2", "--entry", "g_ema")


@pytest.mark.parametrize("suffix", [".pt", ".npz"])
def test_nothing_is_converted_twice(source, capsys, suffix):
    """A result is marked in every format, so that its constants are not applied again."""
    once, twice = source.with_name(f"once{suffix}"), source.with_name("twice.pt")
    assert run("convert", source, once, *OPTIONS) == 0
    assert run("convert", once, twice, *OPTIONS[:2]) == 1
    assert "has the plain weights of rosinality-stylegan2" in capsys.readouterr().err
    assert not twice.exists()
    assert run("describe", once) == 0
    assert "plain weights, converted from rosinality-stylegan2" in capsys.readouterr().out
    back = ("--family", "plain", "--to", "rosinality-stylegan2")
    stored = source.with_name(f"stored{suffix}")
    assert run("convert", once, stored, *back) == 0
    assert run("convert", stored, twice, *back) == 1
    assert "has the stored weights" in capsys.readouterr().err
    assert run("convert", stored, twice, *OPTIONS[:2]) == 0
    for key, value in to_plain(STATE, "rosinality-stylegan2").items():
        assert_ulps(torch.load(twice, weights_only=True)[key], value, 2)


def test_own_files(tmp_path, capsys):
    """A file of an equalized model is known, and its constants are those of its metadata."""
    model = equalize_lr(torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.GRU(4, 2)), lr_mul=0.3)
    torch.save(model.state_dict(), tmp_path / "eq.pt")
    assert run("describe", tmp_path / "eq.pt") == 0
    assert "eq.pt: 6 tensors, like equalized-lr\n" in capsys.readouterr().out
    assert run("convert", tmp_path / "eq.pt", tmp_path / "out.pt", "--family", "plain") == 1
    assert "--family equalized-lr" in capsys.readouterr().err
    assert not (tmp_path / "out.pt").exists()
    command = ("convert", tmp_path / "eq.pt", tmp_path / "out.pt", "--family", "equalized-lr")
    assert run(*command) == 0
    plain = torch.load(tmp_path / "out.pt", weights_only=True)
    expected = plain_state_dict(model)
    assert list(plain) == list(expected)
    for key, value in expected.items():
        assert_equal(plain[key], value)


@pytest.mark.parametrize("network", ["rosinality-stylegan", "mmgen-pggan", "imaginaire", "ot-vae"])
def test_stored_weights_are_not_plain(tmp_path, network, capsys):
    """A file whose names say that it is not plain is not copied as if it were."""
    torch.save(stored(network)[2], tmp_path / "in.pt")
    assert run("convert", tmp_path / "in.pt", tmp_path / "out.pt", "--family", "plain") == 1
    assert f"--family {NETWORKS[network][0]}" in capsys.readouterr().err


@pytest.fixture
def composed(tmp_path):
    """A file as pSp has it: an encoder, and a generator behind a prefix."""
    state = {f"decoder.{key}": value for key, value in STATE.items()}
    torch.save({"encoder.weight": torch.ones(2, 2), **state}, tmp_path / "psp.pt")
    return tmp_path / "psp.pt"


def test_prefixes(composed, capsys):
    """A network behind a prefix is found and converted; the rest is kept or dropped on request."""
    target = composed.with_name("out.pt")
    options = ("--family", "rosinality-stylegan2", "--prefix", "decoder.", "--force")
    assert run("describe", composed) == 0
    title = "psp.pt: 4 tensors, like rosinality-stylegan2 with prefix='decoder.'\n"
    assert capsys.readouterr().out.startswith(title)
    assert run("convert", composed, target, *options) == 1
    assert "1 key(s) do not begin with 'decoder.': 'encoder.weight'" in capsys.readouterr().err
    plain = {f"decoder.{k}": v for k, v in to_plain(STATE, "rosinality-stylegan2").items()}
    for rest, more in (("keep", {"encoder.weight": torch.ones(2, 2)}), ("drop", {})):
        assert run("convert", composed, target, *options, "--rest", rest) == 0
        result = torch.load(target, weights_only=True)
        assert set(result) == set(plain | more)
        for key, value in (plain | more).items():
            assert_equal(result[key], value)


def test_a_reader_that_has_seen_enough(tmp_path):
    """`describe | head` ends without a traceback."""
    torch.save({f"a.{i}": torch.ones(2) for i in range(5000)}, tmp_path / "in.pt")
    command = f"{sys.executable} -m equalized_lr describe in.pt | head -1"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.stdout == "in.pt: 5000 tensors, like no family that is known\n"
    assert done.stderr == ""
