"""Checkpoint files: read without running what is in them, written whole or not at all."""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import secrets
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from equalized_lr.checkpoint.state import CONSTANTS, FORM, metadata_of
from equalized_lr.errors import (
    MissingPackage,
    NoSuchEntry,
    UnreadableFile,
    UnsafeFile,
    UnwritableFile,
)
from equalized_lr.optional import needed

TORCH = (".pt", ".pth", ".ckpt", ".bin", ".model", ".tar")
KNOWN = (*TORCH, ".safetensors", ".npz")

# Archives, pickles of protocol 2 and later, and tar files of torch before 0.4 begin so.
TORCH_BEGINNINGS = re.compile(rb"PK|\x80|.{257}ustar", re.DOTALL)


def read(path: Path) -> Any:
    """What a file holds: tensors or arrays by name, possibly nested.

    Raises:
        EqualizedLRError: if it is damaged, of another kind, or would have to be executed.
    """
    if path.suffix == ".pkl":
        raise UnsafeFile(str(path), "it is a pickle of whole networks, with their code")
    problem = _problem(path)
    if problem:
        raise UnreadableFile(str(path), problem)
    reader = {".safetensors": _read_safetensors, ".npz": _read_npz}.get(path.suffix, _read_torch)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is wrong with a file is said by an error
            return reader(path)
    except (UnsafeFile, UnreadableFile, MissingPackage):
        raise
    except Exception as error:
        reason = f"it is damaged ({type(error).__name__}: {_first_line(error)})"
        raise UnreadableFile(str(path), reason) from error


def _problem(path: Path) -> str:
    try:
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {_first_line(error)}"
    return _odd_kind(path) or ("" if size else "it is empty")


def _odd_kind(path: Path) -> str:
    if path.is_file() or not path.exists():
        return ""
    return "it is a directory" if path.is_dir() else "it is no ordinary file"


def _read_torch(path: Path) -> Any:
    with path.open("rb") as file:
        if not TORCH_BEGINNINGS.match(file.read(512)):
            raise UnreadableFile(str(path), "it is no file of torch.save")
    # A Namespace is a mere bag of values, and rosinality's files have one.
    with torch.serialization.safe_globals([argparse.Namespace]):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            code = re.search(r"GLOBAL (\S+)", str(error))
            if code:
                raise UnsafeFile(str(path), f"it holds {code[1]}") from error
            if "TorchScript" in str(error):
                raise UnsafeFile(str(path), "it is a program of TorchScript") from error
            if "Unsupported operand" in str(error):
                raise UnreadableFile(str(path), "it is a pickle of another program") from error
            if "Weights only load failed" in str(error):
                raise UnsafeFile(str(path), "it has code in it") from error
            raise


def _read_safetensors(path: Path) -> Any:
    with needed("safetensors.torch").safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return _with_forms(tensors, (file.metadata() or {}).get(FORM, ""))


def _read_npz(path: Path) -> Any:
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no .npz archive")
    with path.open("rb") as file, needed("numpy").load(file, allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
        comment = archive.zip.comment.decode(errors="replace")
    if not all(map(_is_array, arrays.values())):
        raise ValueError("it holds something else than arrays")
    return _with_forms(arrays, comment)


def _with_forms(tensors: Mapping[str, Any], text: str) -> Mapping[str, Any]:
    """The tensors, with what `_forms` has written in the place where torch's files have it."""
    try:
        forms = json.loads(text)
    except ValueError:
        return tensors
    result = OrderedDict(tensors)
    if isinstance(forms, dict):
        metadata = {path: {FORM: form} for path, form in forms.items()}
        result._metadata = OrderedDict(metadata)  # type: ignore[attr-defined]
    return result


def entries(content: Any) -> dict[str, Mapping[str, Any]]:
    """The state_dicts in a file by their path, such as `models.generator`; "" for the whole."""
    states: dict[str, Mapping[str, Any]] = {}
    for path, state in _entries("", content, ()):
        name, number = path, 2
        while name in states:  # a key may have a dot in it
            name, number = f"{path}#{number}", number + 1
        states[name] = state
    return states


def _entries(
    path: str, content: Any, around: tuple[int, ...]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(content, Mapping) or id(content) in around:
        return
    if any(_is_array(value) for value in content.values()):
        yield path, content
    for key, value in content.items():
        yield from _entries(f"{path}.{key}" if path else str(key), value, (*around, id(content)))


def _is_array(value: object) -> bool:
    return isinstance(value, Tensor) or hasattr(value, "__array_interface__")


def pick(content: Any, entry: str | None) -> Mapping[str, Any]:
    """One state_dict of a file."""
    states = entries(content)
    if entry is None and "" in states and len(states) == 1:
        return states[""]
    if entry is None or entry not in states:
        sizes = {path: len(state) for path, state in states.items()}
        raise NoSuchEntry(entry, sizes, f"a {type(content).__name__}")
    return states[entry]


def refuse_target(path: Path, source: Path | None = None, *, force: bool = False) -> None:
    """Raises if a file cannot be written, or should not, since something would be lost.

    Args:
        path: the file that would be written.
        source: the file that is read for it.
        force: whether another file may be replaced.
    """
    try:
        reason = _conflict(path, source, force)
    except (OSError, ValueError) as error:
        reason = _first_line(error)
    if reason:
        raise UnwritableFile(str(path), reason)


def _conflict(path: Path, source: Path | None, force: bool) -> str:
    if path.suffix not in KNOWN:
        return f"its name ends in none of {', '.join(KNOWN)}"
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        return f"it is the same file as {source}"
    if os.path.lexists(path) and not force and not _odd_kind(path):
        return "a file of this name exists, which --force would replace"
    return _odd_kind(path)


def write(tensors: Mapping[str, Tensor], path: Path, *, force: bool = False) -> None:
    """Writes a state_dict, in the format that the name says, or leaves nothing behind.

    Raises:
        EqualizedLRError: if it cannot be written.
    """
    refuse_target(path, force=force)
    part = path.with_name(f".equalized-lr.{secrets.token_hex(8)}")
    try:
        with part.open("xb") as file:
            _dump(tensors, path, file)
            file.flush()
            os.fsync(file.fileno())
        refuse_target(path, force=force)
        part.replace(path)
    except (MissingPackage, UnwritableFile):
        raise
    except Exception as error:
        raise UnwritableFile(str(path), _first_line(error)) from error
    finally:
        with suppress(OSError):
            part.unlink()


def _dump(tensors: Mapping[str, Tensor], path: Path, file: Any) -> None:
    if path.suffix == ".npz":
        numpy = needed("numpy")
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            archive.comment = _forms(tensors, path).encode()
            for key, tensor in tensors.items():
                with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                    numpy.lib.format.write_array(member, tensor.numpy(), allow_pickle=False)
    elif path.suffix == ".safetensors":
        # The format knows no ties: each tensor is written by itself.
        apart = {key: tensor.clone().contiguous() for key, tensor in tensors.items()}
        metadata = {"format": "pt", FORM: _forms(tensors, path)}
        file.write(needed("safetensors.torch").save(apart, metadata))
    else:
        # torch does not say why it could not write into a file, which Python does.
        buffer = io.BytesIO()
        torch.save(tensors, buffer)
        file.write(buffer.getbuffer())


def _forms(tensors: Mapping[str, Tensor], path: Path) -> str:
    """What a state_dict says of its form, for files that have no place for other metadata."""
    metadata = {prefix[:-1]: own for prefix, own in metadata_of(tensors).items()}
    if any(CONSTANTS in own for own in metadata.values()):
        reason = f"{path.suffix} has no place for the constants of equalized weights"
        raise UnwritableFile(str(path), reason)
    return json.dumps({key: own[FORM] for key, own in metadata.items() if FORM in own})


def _first_line(error: BaseException) -> str:
    reason = getattr(error, "strerror", None) or str(error).strip()
    return (reason.splitlines() or ["no reason given"])[0][:200].rstrip(".")
