"""The command line: `python -m equalized_lr convert` and `python -m equalized_lr describe`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from equalized_lr.checkpoint import explain, families, from_plain, guess, to_plain
from equalized_lr.checkpoint.convert import as_tensors
from equalized_lr.errors import EqualizedLRError
from equalized_lr.files import entries, pick, read, write
from equalized_lr.tables import steps_table, tensors_table

PLAIN = "plain"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0 if it succeeded, 1 if it was refused, with the reason on stderr."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except EqualizedLRError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def convert(options: argparse.Namespace) -> None:
    """From a family's file to plain weights, or on to the file of another family."""
    state = pick(read(options.source), options.entry)
    facts = dict(options.fact)
    tables = []
    if options.family != PLAIN:
        tables.append(steps_table(explain(state, options.family, **facts), back=False))
        state = to_plain(state, options.family, **facts)
    if options.to != PLAIN:
        back = dict(options.to_fact)
        tables.append(steps_table(explain(state, options.to, back=True, **back), back=True))
        state = from_plain(state, options.to, **back)
    write(as_tensors(state), options.target)
    print("\n\n".join(tables) or "nothing to convert")  # noqa: T201


def describe(options: argparse.Namespace) -> None:
    """The state_dicts of a file, their tensors, and the families that they look like."""
    content = read(options.file)
    found = entries(content)
    chosen = [options.entry] if options.entry is not None or not found else list(found)
    for path in chosen:
        state = {
            key: value
            for key, value in pick(content, path).items()
            if hasattr(value, "shape") and isinstance(key, str)
        }
        likely = " or ".join(guess(state)) or "no family that is known"
        title = f"{path or options.file.name}: {len(state)} tensors, like {likely}"
        print(f"{title}\n{tensors_table(as_tensors(state))}\n")  # noqa: T201


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m equalized_lr", description="Checkpoints of other code bases."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    one = commands.add_parser("convert", help="write a file's effective weights")
    one.add_argument("source", type=Path, metavar="IN", help=".pt, .safetensors or .npz")
    one.add_argument("target", type=Path, metavar="OUT", help=".pt, .safetensors or .npz")
    known = [*families(), PLAIN]
    one.add_argument("--family", required=True, choices=known, help="where IN comes from")
    one.add_argument("--to", default=PLAIN, choices=known, help="where OUT goes (plain)")
    one.add_argument("--entry", help="the network's place in the file, such as g_ema")
    for flag, what in (("--fact", "IN"), ("--to-fact", "OUT")):
        one.add_argument(
            flag,
            type=_fact,
            nargs="+",
            action="extend",
            default=[],
            metavar="NAME=VALUE",
            help=f"what {what} does not say, such as lr_mul=0.01",
        )
    one.set_defaults(command=convert)

    two = commands.add_parser("describe", help="list a file's tensors and guess its family")
    two.add_argument("file", type=Path, metavar="FILE")
    two.add_argument("--entry", help="the network's place in the file, such as g_ema")
    two.set_defaults(command=describe)
    return parser


def _fact(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    try:
        return name, float(value) if not value.isdigit() else int(value)
    except ValueError:
        return name, value


if __name__ == "__main__":
    sys.exit(main())
