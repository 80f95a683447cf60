"""Checkpoints of other code bases that no rule fits, and files that cannot be read or written."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from equalized_lr.errors.base import EqualizedLRError

LONGEST = 100  # what is shown of a key, which a file can make as long as it likes

# Families


class UnknownFamily(EqualizedLRError, ValueError):
    text = "no family is called {name!r}. Name {families}."

    def __init__(self, name: object, known: Sequence[str]) -> None:
        near = get_close_matches(str(name).lower(), known, 1)
        nearest = f"another: the nearest is '{near[0]}'" if near else ""
        super().__init__(name, nearest or f"one of: {', '.join(known)}")


class UnknownFact(EqualizedLRError, TypeError):
    text = """'{name}' is no fact of {family} checkpoints, which have: {known}.
    Leave it out, or name another family."""


class UnknownKeys(EqualizedLRError, ValueError):
    text = "{count} key(s) are not known in {family} checkpoints: {shown}. {cure}"

    def __init__(
        self,
        family: str,
        keys: Sequence[tuple[str, Sequence[int]]],
        likely: Sequence[str] = (),
        known: int = 0,
    ) -> None:
        cure = "Name the family that the file comes from: this one knows no key of it."
        if likely:
            cure = f"The names look like {' or '.join(likely)}. Name that family."
        elif known:
            cure = "Keys are not guessed: remove those that belong to something else."
        shown = _first([f"'{key[:LONGEST]}' {tuple(shape)}" for key, shape in keys], 50)
        super().__init__(len(keys), family, shown, cure)
        self.keys, self.known = list(keys), known


class UnfitTensor(EqualizedLRError, ValueError):
    text = """'{key}' of shape {shape} {problem}, where this family has {expected}.
    Name the family that the file comes from, and give the file as it was written."""


class UnscalableValues(EqualizedLRError, ValueError):
    text = "'{key}' {operation} by c = {scale:.3g} does not fit into {dtype}. Give float32."

    def __init__(self, key: str, scale: float, dtype: str, divided: bool) -> None:
        super().__init__(key, "divided" if divided else "multiplied", scale, dtype)


class Undecided(EqualizedLRError, ValueError):
    text = """the tensors do not show for certain by which rule of {family} they are stored.
    Give {fact}={choices}."""

    def __init__(self, family: str, fact: str, choices: Sequence[str]) -> None:
        super().__init__(family, fact, " or ".join(map(repr, choices)))


class WrongForm(EqualizedLRError, ValueError):
    text = """the state_dict says that it has the {form} weights of {family}, so this conversion
    would scale them by wrong constants. {cure}."""

    def __init__(self, form: str, family: str) -> None:
        cure = f"Convert them with to_plain(state_dict, '{family}'), or --family {family}"
        if form == "plain":
            cure = "Use them as they are, or give the state_dict that they were converted from"
        super().__init__(form, family, cure)


class NoConstants(EqualizedLRError, ValueError):
    text = """the state_dict has no constants for {keys}: they are its metadata, which
    model.state_dict() has and torch.save keeps, but no copy into another dict and no .safetensors
    file. Give scales=he_scales(model), or save plain_state_dict(model)."""

    def __init__(self, keys: Sequence[str]) -> None:
        super().__init__(_first([f"'{key[:LONGEST]}'" for key in keys], 10) or "any weight")


class OutsidePrefix(EqualizedLRError, ValueError):
    text = """{count} key(s) do not begin with '{prefix}': {keys}. Give rest='keep' (they stay as
    they are) or rest='drop', which is --rest on the command line."""

    def __init__(self, prefix: str, keys: Sequence[str]) -> None:
        super().__init__(len(keys), prefix, _first([f"'{key[:LONGEST]}'" for key in keys], 10))


def _first(items: Sequence[str], count: int) -> str:
    more = f" and {len(items) - count} more" if len(items) > count else ""
    return ", ".join(items[:count]) + more


# Files


class NotAStateDict(EqualizedLRError, TypeError):
    text = """expected the state_dict of one network, tensors by name, got {value}.{entries}
    Pass the entry of one network, such as checkpoint['g_ema'], without its optimizer."""

    def __init__(self, value: str, entries: Sequence[str]) -> None:
        super().__init__(value, f" It holds: {', '.join(entries[:30])}." if entries else "")


class UnreadableFile(EqualizedLRError, ValueError):
    text = "{path} cannot be read: {reason}. Give a complete .pt, .safetensors or .npz file."


class UnsafeFile(EqualizedLRError, ValueError):
    text = """{path} is not read, since that would run code from the file: {reason}. Load it in the
    code base that it comes from, if you trust it, and save only its tensors there:
    torch.save(network.state_dict(), 'network.pt')."""


class UnwritableFile(EqualizedLRError, ValueError):
    text = """{path} cannot be written, and nothing was: {reason}.
    Give another name, or another format."""


class MissingPackage(EqualizedLRError, RuntimeError):
    text = """{what} needs the package {package}, which is not installed.
    Run pip install {package}, or {instead}."""

    def __init__(
        self, package: str, what: str = "this format", instead: str = "give a .pt file"
    ) -> None:
        super().__init__(what, package, instead)


class NoSuchEntry(EqualizedLRError, ValueError):
    text = "{problem}, {contents}. {cure}"

    def __init__(
        self, entry: str | None, networks: Mapping[str, int], content: str = "something else"
    ) -> None:
        problem = "no entry was named" if entry is None else f"there is no entry '{entry}'"
        listing = ", ".join(f"'{path}' ({count} keys)" for path, count in networks.items())
        if networks:
            super().__init__(problem, f"and the file holds: {listing}", "Name one with --entry.")
        else:
            cure = "Give one that torch.save(model.state_dict(), path) has written."
            super().__init__("the file holds no tensors by name", f"but {content}", cure)
