"""Files that cannot be read or written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from equalized_lr.errors.base import EqualizedLRError


class NotAStateDict(EqualizedLRError, TypeError):
    """Something else than tensors by name was given."""

    def __init__(self, given: str, entries: Sequence[str]) -> None:
        found = f" It holds: {', '.join(entries[:30])}." if entries else ""
        super().__init__(
            f"expected the state_dict of one network, tensors by name, got {given}.{found} "
            "Pass the entry of one network, such as checkpoint['g_ema'], without its optimizer."
        )


class UnreadableFile(EqualizedLRError, ValueError):
    """A file is missing, damaged, or of another kind than its name says."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"{path} cannot be read: {reason}. "
            "Give a .pt, .safetensors or .npz file that is there and complete."
        )


class UnsafeFile(EqualizedLRError, ValueError):
    """Reading a file would mean to run code that is in it."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"{path} is not read, since that would run code from the file: {reason}. Load it in "
            "the code base that it comes from, if you trust it, and save tensors alone there: "
            "torch.save(network.state_dict(), 'network.pt')."
        )


class UnwritableFile(EqualizedLRError, ValueError):
    """A file cannot be written."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"{path} cannot be written, and nothing was: {reason}. "
            "Give another name, or another format."
        )


class MissingPackage(EqualizedLRError, RuntimeError):
    """Something needs a package that is not installed."""

    def __init__(
        self, package: str, what: str = "this format", instead: str = "give a .pt file"
    ) -> None:
        super().__init__(
            f"{what} needs the package {package}, which is not installed. "
            f"Run pip install {package}, or {instead}."
        )


class NoSuchEntry(EqualizedLRError, ValueError):
    """A file holds several networks, and none was named, or it holds none."""

    def __init__(self, entry: str | None, found: Mapping[str, int], content: str = "") -> None:
        problem = "no entry was named" if entry is None else f"there is no entry '{entry}'"
        listing = ", ".join(f"'{path}' ({count} keys)" for path, count in found.items())
        super().__init__(
            f"{problem}, and the file holds: {listing}. Name one with --entry."
            if found
            else f"the file holds no tensors by name, but {content or 'something else'}. "
            "Give one that torch.save(model.state_dict(), path) has written."
        )
