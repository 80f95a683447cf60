"""`python -m equalized_lr`, in a process of its own."""

import subprocess
import sys

import equalized_lr


def test_it_runs():
    """The command line runs under the name of the package, and knows the package's version."""
    done = subprocess.run(
        [sys.executable, "-m", "equalized_lr", "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"equalized-lr {equalized_lr.__version__}\n"
    assert (done.returncode, done.stderr) == (0, "")
