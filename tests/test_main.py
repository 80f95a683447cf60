"""The command line: what it prints, what it writes, and how it fails."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from equalized_lr import __main__ as main_module
from equalized_lr.__main__ import main
from equalized_lr.checkpoint import to_plain
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


@pytest.mark.parametrize("network", NETWORKS)
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
    """What cannot be understood is exit code 2, as argparse has it."""
    with pytest.raises(SystemExit) as exit_:
        run(*arguments)
    assert exit_.value.code == 2
    assert "usage:" in capsys.readouterr().err


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
    parser = main_module._parser()
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
        found = [line for line in printed if "tensors, like" in line]
        assert [line.split(":")[0] for line in found] == titles


def test_help(capsys):
    """The usage names the command as it is called, its commands, and their arguments."""
    for arguments, usage in (
        (["-h"], "usage: python -m equalized_lr [-h] COMMAND ..."),
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
