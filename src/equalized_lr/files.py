"""Checkpoint files: read without running what is in them, written whole or not at all."""

from __future__ import annotations

import argparse
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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


def read(path: Path) -> Any:
    """What a file holds: tensors or arrays by name, possibly nested.

    Raises:
        EqualizedLRError: if it is damaged, of another kind, or would have to be executed.
    """
    if path.suffix == ".pkl":
        raise UnsafeFile(str(path), "it is a pickle of whole networks, with their code")
    reader = {".safetensors": _read_safetensors, ".npz": _read_npz}.get(path.suffix, _read_torch)
    try:
        return reader(path)
    except (UnsafeFile, MissingPackage):
        raise
    except Exception as error:
        raise UnreadableFile(str(path), f"{type(error).__name__}: {_first_line(error)}") from error


def _read_torch(path: Path) -> Any:
    # A Namespace is a mere bag of values, and rosinality's files have one.
    with torch.serialization.safe_globals([argparse.Namespace]):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            if "Unsupported" in str(error) or "GLOBAL" in str(error):
                reason = next((x for x in str(error).splitlines() if "GLOBAL" in x), "")
                raise UnsafeFile(str(path), reason.strip() or "it has code in it") from error
            raise


def _read_safetensors(path: Path) -> Any:
    return needed("safetensors.torch").load_file(path)


def _read_npz(path: Path) -> Any:
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no .npz archive")
    with path.open("rb") as file, needed("numpy").load(file, allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    if not all(map(_is_array, arrays.values())):
        raise ValueError("it holds something else than arrays")
    return arrays


def entries(content: Any) -> dict[str, Mapping[str, Any]]:
    """The state_dicts in a file by their path, such as `models.generator`; "" for the whole."""
    return dict(_entries("", content))


def _entries(path: str, content: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(content, Mapping):
        return
    if any(_is_array(value) for value in content.values()):
        yield path, content
    for key, value in content.items():
        yield from _entries(f"{path}.{key}" if path else str(key), value)


def _is_array(value: object) -> bool:
    return isinstance(value, Tensor) or hasattr(value, "__array_interface__")


def pick(content: Any, entry: str | None) -> Mapping[str, Any]:
    """One state_dict of a file, without what is no tensor's business."""
    found = entries(content)
    if entry is None and "" in found and len(found) == 1:
        return found[""]
    if entry is None or entry not in found:
        raise NoSuchEntry(entry, {path: len(state) for path, state in found.items()})
    return found[entry]


def write(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Writes a state_dict, in the format that the name says, or leaves nothing behind.

    Raises:
        EqualizedLRError: if it cannot be written.
    """
    if path.suffix not in KNOWN:
        raise UnwritableFile(str(path), f"its name ends in none of {', '.join(KNOWN)}")
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise UnwritableFile(str(path), _first_line(error)) from error
    try:
        with os.fdopen(handle, "wb") as file:
            _dump(tensors, path.suffix, file)
            file.flush()
            os.fsync(file.fileno())
            _open_to_others(name)
        Path(name).replace(path)
    except MissingPackage:
        raise
    except Exception as error:
        raise UnwritableFile(str(path), _first_line(error)) from error
    finally:
        with suppress(FileNotFoundError):
            Path(name).unlink()


def _open_to_others(name: str) -> None:
    """Gives a temporary file, which is its owner's alone, the rights of an ordinary new file."""
    mask = os.umask(0)
    os.umask(mask)
    Path(name).chmod(0o666 & ~mask)


def _dump(tensors: Mapping[str, Tensor], suffix: str, file: Any) -> None:
    if suffix == ".npz":
        numpy = needed("numpy")
        arrays = {key: tensor.numpy() for key, tensor in tensors.items()}
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for key, array in arrays.items():
                with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                    numpy.lib.format.write_array(member, array, allow_pickle=False)
    elif suffix == ".safetensors":
        # The format knows no ties: each tensor is written by itself.
        apart = {key: tensor.clone().contiguous() for key, tensor in tensors.items()}
        file.write(needed("safetensors.torch").save(apart))
    else:
        torch.save(dict(tensors), file)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0][:200]
