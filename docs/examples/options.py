"""What all examples take on the command line: threads, a device, a folder, quiet."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch


def parser(description: str | None, *, threads: int = 2) -> argparse.ArgumentParser:
    """A parser whose description is the first line of an example's docstring."""
    first = (description or "").splitlines()[0]
    shared = argparse.ArgumentParser(
        description=first, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    usual = min(threads, torch.get_num_threads())
    shared.add_argument("--threads", type=int, default=usual, help="torch's threads")
    shared.add_argument("--device", default="cpu", help="where tensors are, such as cuda")
    shared.add_argument("--quiet", action="store_true", help="no progress bars")
    return shared


def add_out(shared: argparse.ArgumentParser) -> None:
    """An option for the folder of what is written."""
    shared.add_argument("--out", type=Path, default=Path("out"), help="folder for what is written")


def use(options: argparse.Namespace) -> None:
    """Makes torch do as the options say, and makes the folder."""
    torch.set_num_threads(options.threads)
    torch.set_default_device(options.device)
    if "out" in options:
        options.out.mkdir(parents=True, exist_ok=True)
