"""The recipes of docs/works-with.md, by their headings."""

import os
import re
from pathlib import Path

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

PAGE = Path(__file__).parents[2] / "docs" / "works-with.md"
TWO_PROCESSES = "<!-- two processes -->"


def recipes(*, two_processes):
    """The Python blocks of the page, by heading: those of two processes, or all others."""
    document = Sybil(parsers=[PythonCodeBlockParser(doctest_optionflags=0)]).parse(PAGE)
    found = {}
    for example in document.examples():
        above = document.text[: example.start].rstrip()
        if above.endswith(TWO_PROCESSES) == two_processes:
            heading = re.findall(r"^### (.*)$", above, re.MULTILINE)[-1]
            found[f"{heading} (line {example.line})"] = example
    return found


def run_alone(example):
    """Runs a recipe as a script of its own: nothing is imported or defined but what it shows."""
    run_source(example.line, str(example.parsed))


def run_in_rank(rank, line, source, directory):
    """The same in one of several processes, which share a directory."""
    os.chdir(directory)
    run_source(line, source)


def run_source(line, source):
    """Lines count as in the page; names live on in what a recipe leaves behind, as in `fans`."""
    exec(compile("\n" * line + source, PAGE, "exec"), {"__name__": "recipe"})
