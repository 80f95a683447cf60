"""`python -m equalized_lr`: the command line of the checkpoint wing."""

import sys
from collections.abc import Sequence

from equalized_lr import __version__
from equalized_lr.checkpoint import command_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code."""
    return command_line.run(arguments, __version__)


if __name__ == "__main__":
    sys.exit(main())
