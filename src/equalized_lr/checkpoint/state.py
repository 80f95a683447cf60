"""State_dicts as code bases give them: tensors by name, and what is said of them besides."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from equalized_lr.errors import NotAStateDict, WrongForm

# Under these keys the metadata of a state_dict has the constants of an equalized module, as the
# layers of this library write them, and the form into which a conversion has brought a network.
CONSTANTS = "equalized_lr"
FORM = "equalized_lr_form"
OWN = "equalized-lr"


@dataclass(frozen=True)
class State:
    """The state_dict of one network.

    Attributes:
        tensors: by name.
        metadata: what modules say of themselves, by the prefix of their keys.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, state_dict: object) -> State:
        """Takes tensors and numpy's arrays by name, and refuses anything else."""
        if not isinstance(state_dict, Mapping):
            raise NotAStateDict(f"a {type(state_dict).__name__}", [])
        entries = [str(key) for key, value in state_dict.items() if isinstance(value, Mapping)]
        if entries:
            raise NotAStateDict("several things in one", entries)
        tensors = {key: _tensor(key, value) for key, value in state_dict.items()}
        return cls(tensors, metadata_of(state_dict))

    @classmethod
    def within(cls, state_dict: Mapping[Any, Any]) -> State:
        """Takes the tensors by name, and leaves out anything else."""
        tensors = {
            key: value
            for key, value in state_dict.items()
            if isinstance(key, str) and hasattr(value, "shape")
        }
        return cls(cls.of(tensors).tensors, metadata_of(state_dict))

    def part(self, prefix: str) -> State:
        """What stands behind a prefix, under names without it."""
        start = len(prefix)
        return State(
            {key[start:]: t for key, t in self.tensors.items() if key.startswith(prefix)},
            {key[start:]: own for key, own in self.metadata.items() if key.startswith(prefix)},
        )

    def forms(self) -> Iterator[tuple[str, str, str]]:
        """Prefix, form ("plain" or "stored") and family of every part that says it."""
        for prefix, own in self.metadata.items():
            if CONSTANTS in own:
                yield prefix, "stored", OWN
            mark = own.get(FORM)
            if isinstance(mark, Mapping):
                yield prefix, str(mark.get("form")), str(mark.get("family"))

    def refuse_plain(self, prefix: str, family: str) -> None:
        """Raises if a part says that it is plain already, or stored by another family."""
        for there, form, name in self.forms():
            if _overlap(prefix, there) and (form == "plain" or name != family):
                raise WrongForm(form, name)

    def refuse_stored(self, prefix: str = "") -> None:
        """Raises if a part says that it is not plain."""
        for there, form, name in self.forms():
            if _overlap(prefix, there) and form == "stored":
                raise WrongForm(form, name)

    def as_dict(self) -> dict[str, Tensor]:
        """The tensors, with the metadata where `load_state_dict` looks for it."""
        result = OrderedDict(self.tensors)
        metadata = OrderedDict((prefix[:-1], own) for prefix, own in self.metadata.items())
        result._metadata = metadata  # type: ignore[attr-defined]
        return result


def metadata_of(state_dict: object) -> dict[str, dict[str, Any]]:
    """What torch's modules say of themselves in a state_dict, by the prefix of their keys."""
    metadata = getattr(state_dict, "_metadata", None)
    if not isinstance(metadata, Mapping):
        return {}
    return {
        f"{path}." if path else "": dict(own)
        for path, own in metadata.items()
        if isinstance(path, str) and isinstance(own, Mapping)
    }


def converted_metadata(state: State, prefix: str, form: str, family: str) -> dict[str, Any]:
    """The metadata of the result of a conversion, which is marked so that it is made once."""
    metadata = {
        there: {
            key: value
            for key, value in own.items()
            if not (key in (CONSTANTS, FORM) and there.startswith(prefix))
        }
        for there, own in state.metadata.items()
    }
    metadata.setdefault(prefix, {})[FORM] = {"form": form, "family": family}
    return metadata


def _overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _tensor(key: object, value: Any) -> Tensor:
    if not isinstance(key, str):
        raise NotAStateDict(f"a dict with the key {key!r}", [])
    if isinstance(value, Tensor):
        return value
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
        try:
            native = value.dtype.newbyteorder("=")
            return torch.from_numpy(numpy.array(value, dtype=native, order="C"))
        except (TypeError, ValueError, RuntimeError):
            raise NotAStateDict(f"a dict whose '{key}' is no array of numbers", []) from None
    raise NotAStateDict(f"a dict whose '{key}' is a {type(value).__name__}", [])
