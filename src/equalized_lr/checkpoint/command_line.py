"""The command line: `python -m equalized_lr convert` and `python -m equalized_lr describe`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from equalized_lr.checkpoint.convert import explain, families, from_plain, to_plain
from equalized_lr.checkpoint.files import entries, pick, read, refuse_target, write
from equalized_lr.checkpoint.likeness import likenesses, refuse_stored
from equalized_lr.checkpoint.listing import in_ascii, tensors_table
from equalized_lr.checkpoint.state import State
from equalized_lr.errors import EqualizedLRError, UnknownFamily

PROGRAM = "python -m equalized_lr"
PLAIN = "plain"


def run(arguments: Sequence[str] | None, version: str) -> int:
    """Runs one command; 0 if it succeeded, 1 if it was refused, with the reason on stderr."""
    options = _parser(version).parse_args(arguments)
    try:
        options.command(options)
        sys.stdout.flush()
    except EqualizedLRError as error:
        print(f"error: {in_ascii(str(error))}", file=sys.stderr)  # noqa: T201
        return 1
    except BrokenPipeError:  # the reader of a table has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def convert(options: argparse.Namespace) -> None:
    """From a family's file to plain weights, or on to the file of another family."""
    refuse_target(options.target, options.source, force=options.force)
    state = pick(read(options.source), options.entry)
    part = {"prefix": options.prefix, "rest": options.rest}
    tables = []
    if options.family == PLAIN:
        refuse_stored(State.within(state))
    else:
        facts = dict(options.fact)
        tables.append(str(explain(state, options.family, **part, **facts)))
        state = to_plain(state, options.family, **part, **facts)
    if options.to != PLAIN:
        facts = dict(options.to_fact)
        tables.append(str(explain(state, options.to, back=True, **part, **facts)))
        state = from_plain(state, options.to, **part, **facts)
    write(State.of(state).as_dict(), options.target, force=options.force)
    print("\n\n".join(tables) or "nothing to convert")  # noqa: T201


def describe(options: argparse.Namespace) -> None:
    """The state_dicts of a file, their tensors, and the families that they look like."""
    content = read(options.file)
    chosen: list[str | None] = [options.entry]
    if options.entry is None:
        chosen = [*entries(content)] or chosen
    for path in chosen:
        state = State.within(pick(content, path))
        title = in_ascii(path or options.file.name)
        print(f"{title}: {len(state.tensors)} tensors, {_likeness(state)}")  # noqa: T201
        print(f"{tensors_table(state.tensors)}\n")  # noqa: T201


def _likeness(state: State) -> str:
    plain = [family for _, form, family in state.forms() if form == "plain"]
    if plain:
        return f"plain weights, converted from {' and '.join(plain)}"
    return f"like {' or '.join(map(str, likenesses(state))) or 'no family that is known'}"


class _Parser(argparse.ArgumentParser):
    """Says what is wrong on one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {in_ascii(message)}. For the usage: {self.prog} --help\n")


def _parser(version: str) -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, description="Checkpoints of other code bases.")
    parser.add_argument("--version", action="version", version=f"equalized-lr {version}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_convert(commands.add_parser("convert", help="write a file's effective weights"))
    two = commands.add_parser("describe", help="list a file's tensors and guess its family")
    two.add_argument("file", type=Path, metavar="FILE")
    two.add_argument("--entry", help="the network's place in the file, such as g_ema")
    two.set_defaults(command=describe)
    return parser


def _add_convert(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    formats = ".pt, .safetensors or .npz"
    add("source", type=Path, metavar="IN", help=formats)
    add("target", type=Path, metavar="OUT", help=formats)
    where_from, where_to = "where IN comes from, or plain", "where OUT goes (plain)"
    add("--family", type=_family, metavar="FAMILY", required=True, help=where_from)
    add("--to", type=_family, metavar="FAMILY", default=PLAIN, help=where_to)
    add("--entry", help="the network's place in the file, such as g_ema")
    add("--prefix", default="", help="what its keys begin with, such as decoder.")
    add("--rest", choices=["keep", "drop"], help="what becomes of the keys without the prefix")
    add("--force", action="store_true", help="replace OUT if it exists")
    for flag, what in (("--fact", "IN"), ("--to-fact", "OUT")):
        add(
            flag,
            type=_fact,
            nargs="+",
            action="extend",
            default=[],
            metavar="NAME=VALUE",
            help=f"what {what} does not say, such as lr_mul=0.01",
        )
    parser.set_defaults(command=convert)


def _family(name: str) -> str:
    known = [*families(), PLAIN]
    if name not in known:
        raise argparse.ArgumentTypeError(str(UnknownFamily(name, known)).rstrip("."))
    return name


def _fact(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    try:
        return name, float(value) if not value.isdigit() else int(value)
    except ValueError:
        return name, value
