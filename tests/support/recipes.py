"""The Python blocks of README and docs: each page is a script, each recipe one of its own."""

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
MARKDOWN = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGE = ROOT / "docs" / "works-with.md"
TWO_PROCESSES = "<!-- two processes -->"

# Pages each of whose blocks is a script of its own; elsewhere the page says what it needs.
ALONE = [
    ROOT / "README.md",
    *(
        ROOT / "docs" / f"{page}.md"
        for page in ("choose", "faq", "guide", "index", "learning_speed", "math", "start")
    ),
]

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
IMPORT = re.compile(r"^ *(?:import|from) (\w+)", re.MULTILINE)
MORE = re.compile(r"\.plot\(|\bonnx\b")  # what needs a package that it does not import itself
SHOWN = "<!-- shown -->"
CORE = {"torch", "equalized_lr", *sys.stdlib_module_names}


@dataclass(frozen=True)
class Block:
    """One block of a page, and the text above it."""

    path: Path
    above: str
    source: str

    @property
    def line(self):
        return self.above.count("\n") + 1

    @property
    def needs_more(self):
        """Whether it needs a package that is not among the tests' own: see `integration`."""
        return bool(MORE.search(self.source)) or not CORE.issuperset(IMPORT.findall(self.source))

    def run(self, names):
        """Lines count as in the page; names live on in what a block leaves behind, as in `fans`."""
        exec(compile("\n" * self.line + self.source, self.path, "exec"), names)

    def run_alone(self):
        """Runs it as a script of its own: nothing is imported or defined but what it shows."""
        self.run({"__name__": "recipe"})


def blocks(path):
    """All blocks of a page, in its order."""
    text = path.read_text()
    return [Block(path, text[: match.start()], match[1]) for match in BLOCK.finditer(text)]


def pages(*, needs_more):
    """The pages that are scripts, with packages beyond the tests' own or without them."""
    scripts = [path for path in MARKDOWN if path != PAGE]
    return [path for path in scripts if any(b.needs_more for b in blocks(path)) == needs_more]


def shown(path):
    """The blocks of a page whose output it shows, each with that output."""
    text = path.read_text()
    return [
        (block, text.partition(block.source)[2].partition("```text\n")[2].partition("```")[0])
        for block in blocks(path)
        if block.above.rstrip().endswith(SHOWN)
    ]


def recipes(*, two_processes=False, needs_more=False):
    """The recipes of docs/works-with.md of one kind, by their headings."""
    chosen = {}
    for block in blocks(PAGE):
        above = block.above.rstrip()
        if above.endswith(TWO_PROCESSES) == two_processes and block.needs_more == needs_more:
            heading = re.findall(r"^### (.*)$", above, re.MULTILINE)[-1]
            chosen[f"{heading} (line {block.line})"] = block
    return chosen


def run_in_rank(rank, block, directory):
    """A recipe in one of several processes, which share a directory."""
    os.chdir(directory)
    block.run_alone()
