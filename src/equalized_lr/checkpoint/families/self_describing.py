"""Checkpoints whose own names say what was equalized: imaginaire's, and ot-vae-lightning's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from equalized_lr.checkpoint.conversion import Conversion
from equalized_lr.checkpoint.family import Family
from equalized_lr.checkpoint.rows import Facts, slow, slow_with_gain
from equalized_lr.checkpoint.state import State
from equalized_lr.errors import UnfitTensor

PARAMETRIZED = r"(?P<path>(?:.*\.)?)parametrizations\.(?P<name>weight|bias)\.original"

# Note [The way back]
# Plain names do not say what was equalized. Every weight with a fan is taken for an equalized one,
# and every bias beside such a weight.


def imaginaire(state: State, facts: Facts, back: bool) -> list[Conversion]:
    """The constants lie beside the weights, as `weight_scale` and `bias_scale`."""
    convert = _imaginaire_stored if back else _imaginaire_plain
    return [convert(state.tensors, key, facts) for key in state.tensors]


def _imaginaire_plain(tensors: Mapping[str, Tensor], key: str, facts: Facts) -> Conversion:
    path, name = _split(key)
    tensor = tensors[key]
    if name in ("weight_scale", "bias_scale") and f"{path}weight_ori" in tensors:
        return Conversion.alone(key, "", tensor, "constant")
    if name == "weight_ori":
        _refuse_axes(key, tensor, (2, 3, 4, 5))
        # Spectral norm on top of it computes from a weight of torch's own name.
        plain = "weight_orig" if f"{path}weight_u" in tensors else "weight"
        scale = _number(tensors, key, f"{path}weight_scale")
        return Conversion.scaled(key, path + plain, tensor, scale, "weight")
    if name == "bias_ori":
        scale = _number(tensors, key, f"{path}bias_scale")
        return Conversion.scaled(key, f"{path}bias", tensor, scale, "bias")
    return Conversion.alone(key, key, tensor, "not equalized")


def _imaginaire_stored(tensors: Mapping[str, Tensor], key: str, facts: Facts) -> Conversion:
    path, name = _split(key)
    tensor = tensors[key]
    spectral = name == "weight_orig" and f"{path}weight_u" in tensors
    if (name == "weight" or spectral) and 2 <= tensor.dim() <= 5:
        scale = slow.value(tensor.shape, facts)
        return Conversion.scaled(key, f"{path}weight_ori", tensor, scale, "weight")
    if name == "bias" and _has_fan(tensors, path, ("weight", "weight_orig")):
        return Conversion.scaled(key, f"{path}bias_ori", tensor, facts["lr_mul"], "bias")
    return Conversion.alone(key, key, tensor, "not equalized")


def add_constants(result: State, conversions: Sequence[Conversion]) -> None:
    """Puts each constant behind its weight, as imaginaire's files have it."""
    scales = {c.name: c.scale for c in conversions if c.scale is not None}
    tensors = dict(result.tensors)
    result.tensors.clear()
    for key, tensor in tensors.items():
        result.tensors[key] = tensor
        if key in scales:
            name = f"{key.removesuffix('_ori')}_scale"
            result.tensors[name] = torch.tensor(scales[key], dtype=tensor.dtype)


def ot_vae(state: State, facts: Facts, back: bool) -> list[Conversion]:
    """torch's parametrizations; by a slip of its own, lr_mul does not reach the biases."""
    convert = _ot_vae_stored if back else _ot_vae_plain
    return [convert(state.tensors, key, facts) for key in state.tensors]


def _ot_vae_plain(tensors: Mapping[str, Tensor], key: str, facts: Facts) -> Conversion:
    parts = re.fullmatch(PARAMETRIZED, key)
    if parts is None:
        return Conversion.alone(key, key, tensors[key], "not equalized")
    name = f"{parts['path']}{parts['name']}"
    if parts["name"] == "bias":
        return Conversion.alone(key, name, tensors[key], "bias")
    _refuse_axes(key, tensors[key], (2, 4))
    scale = slow_with_gain.value(tensors[key].shape, facts)
    return Conversion.scaled(key, name, tensors[key], scale, "weight")


def _ot_vae_stored(tensors: Mapping[str, Tensor], key: str, facts: Facts) -> Conversion:
    path, name = _split(key)
    stored = f"{path}parametrizations.{name}.original"
    if name == "weight" and tensors[key].dim() in (2, 4):
        scale = slow_with_gain.value(tensors[key].shape, facts)
        return Conversion.scaled(key, stored, tensors[key], scale, "weight")
    if name == "bias" and _has_fan(tensors, path, ("weight",)):
        return Conversion.alone(key, stored, tensors[key], "bias")
    return Conversion.alone(key, key, tensors[key], "not equalized")


def _split(key: str) -> tuple[str, str]:
    """The path of a key, with its last dot, and its name."""
    path, dot, name = key.rpartition(".")
    return path + dot, name


def _has_fan(tensors: Mapping[str, Tensor], path: str, names: Sequence[str]) -> bool:
    return any(path + name in tensors and tensors[path + name].dim() >= 2 for name in names)


def _number(tensors: Mapping[str, Tensor], key: str, name: str) -> float:
    constant = tensors.get(name)
    if constant is None or constant.numel() != 1 or constant.is_meta:
        shape = tuple(tensors[key].shape)
        raise UnfitTensor(key, shape, f"has no number '{name}' beside it", "its constant there")
    return float(constant.real)


def _refuse_axes(key: str, tensor: Tensor, axes: Sequence[int]) -> None:
    if tensor.dim() not in axes:
        expected = f"{' or '.join(map(str, axes))} axes"
        raise UnfitTensor(key, tuple(tensor.shape), f"has {tensor.dim()} axes", expected)


def _share_of(sign: str) -> Callable[[State], float]:
    """Counts the keys that match."""

    def share(state: State) -> float:
        signed = sum(re.fullmatch(sign, key) is not None for key in state.tensors)
        return signed / max(len(state.tensors), 1)

    return share


IMAGINAIRE = Family(
    "imaginaire",
    "NVlabs/imaginaire, imaginaire/layers/weight_norm.py",
    facts={"lr_mul": 1.0},
    converter=imaginaire,
    share=_share_of(r"(.*\.)?(weight|bias)_(ori|scale)"),
    complete=add_constants,
)
OT_VAE = Family(
    "ot-vae",
    "theoad/ot-vae-lightning, ot_vae_lightning/utils/elr.py",
    facts={"gain": 1.0, "lr_mul": 1.0},
    converter=ot_vae,
    share=_share_of(PARAMETRIZED),
)
