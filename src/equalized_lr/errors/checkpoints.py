"""Checkpoints of other code bases that no rule fits, and files that cannot be read or written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from equalized_lr.errors.base import EqualizedLRError

# Families


class UnknownFamily(EqualizedLRError, ValueError):
    """No rules are known for checkpoints of this code base."""

    text = "no family is called {name!r}. Name one of: {known}."


class UnknownFact(EqualizedLRError, TypeError):
    """A fact was given that the rules of the family do not use."""

    text = """'{name}' is no fact of {family} checkpoints, which have: {known}.
    Leave it out, or name another family."""


class UnknownKeys(EqualizedLRError, ValueError):
    """A checkpoint has keys that its family does not have."""

    text = """{count} key(s) are not known in {family} checkpoints: {shown}. {hint}Keys are not
    guessed: remove those that belong to something else."""

    def __init__(
        self,
        family: str,
        keys: Sequence[tuple[str, Sequence[int]]],
        likely: Sequence[str] = (),
    ) -> None:
        shown = ", ".join(f"'{key}' {tuple(shape)}" for key, shape in keys[:50])
        more = f" and {len(keys) - 50} more" if len(keys) > 50 else ""
        hint = f"The names look like {' or '.join(likely)}: name that family. " if likely else ""
        super().__init__(len(keys), family, shown + more, hint)
        self.keys = list(keys)


class UnfitTensor(EqualizedLRError, ValueError):
    """A tensor cannot be what its name says."""

    text = """'{key}' of shape {shape} {problem}, where this family has {expected}.
    Name the family that the file comes from, and give the file as it was written."""


class UnscalableValues(EqualizedLRError, ValueError):
    """The converted values would not fit into the dtype of the tensor."""

    text = """'{key}' {operation} by c = {scale:.3g} does not fit into {dtype}.
    Give it in float32."""

    def __init__(self, key: str, scale: float, dtype: str, divided: bool) -> None:
        super().__init__(key, "divided" if divided else "multiplied", scale, dtype)


class Undecided(EqualizedLRError, ValueError):
    """A checkpoint does not show which of several rules holds for it."""

    text = """the tensors do not show for certain by which rule of {family} they are stored.
    Give {fact}={choices}."""

    def __init__(self, family: str, fact: str, choices: Sequence[str]) -> None:
        super().__init__(family, fact, " or ".join(map(repr, choices)))


# Files


class NotAStateDict(EqualizedLRError, TypeError):
    """Something other than tensors by name was given."""

    text = """expected the state_dict of one network, tensors by name, got {value}.{entries}
    Pass the entry of one network, such as checkpoint['g_ema'], without its optimizer."""

    def __init__(self, value: str, entries: Sequence[str]) -> None:
        super().__init__(value, f" It holds: {', '.join(entries[:30])}." if entries else "")


class UnreadableFile(EqualizedLRError, ValueError):
    """A file is missing, damaged, or of another kind than its name says."""

    text = """{path} cannot be read: {reason}.
    Give a .pt, .safetensors or .npz file that is there and complete."""


class UnsafeFile(EqualizedLRError, ValueError):
    """Reading a file would run code that is in it."""

    text = """{path} is not read, since that would run code from the file: {reason}. Load it in the
    code base that it comes from, if you trust it, and save only its tensors there:
    torch.save(network.state_dict(), 'network.pt')."""


class UnwritableFile(EqualizedLRError, ValueError):
    """A file cannot be written."""

    text = """{path} cannot be written, and nothing was: {reason}.
    Give another name, or another format."""


class MissingPackage(EqualizedLRError, RuntimeError):
    """Something needs a package that is not installed."""

    text = """{what} needs the package {package}, which is not installed.
    Run pip install {package}, or {instead}."""

    def __init__(
        self, package: str, what: str = "this format", instead: str = "give a .pt file"
    ) -> None:
        super().__init__(what, package, instead)


class NoSuchEntry(EqualizedLRError, ValueError):
    """A file has several networks, and none of them was named."""

    text = "{problem}, and the file holds: {listing}. Name one with --entry."

    def __init__(self, entry: str | None, networks: Mapping[str, int]) -> None:
        problem = "no entry was named" if entry is None else f"there is no entry '{entry}'"
        listing = ", ".join(f"'{path}' ({count} keys)" for path, count in networks.items())
        super().__init__(problem, listing or "no tensors by name")
