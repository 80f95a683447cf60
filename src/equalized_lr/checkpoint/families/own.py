"""Models that this library has equalized, whose state_dicts have the constants as metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from equalized_lr.checkpoint.conversion import Conversion
from equalized_lr.checkpoint.facts import check_scales
from equalized_lr.checkpoint.family import Family
from equalized_lr.checkpoint.rows import Facts
from equalized_lr.checkpoint.state import CONSTANTS, OWN, State
from equalized_lr.errors import InvalidArgument, NoConstants, UnknownVersion

VERSION = 1
SUFFIX = "_orig"

# torch's spectral_norm and prune call their weights so, too, and keep these beside them.
TORCH_COMPANIONS = ("_u", "_mask")


def own(state: State, facts: Facts, back: bool) -> list[Conversion]:
    """`weight_orig` times its constant is `weight`."""
    scales = _scales(state, facts["scales"])
    return _stored(state, scales) if back else _plain(state, scales)


def _plain(state: State, scales: Mapping[str, float]) -> list[Conversion]:
    conversions, without = [], []
    for key, tensor in state.tensors.items():
        name = key.removesuffix(SUFFIX)
        if name != key and name in scales:
            conversions.append(Conversion.scaled(key, name, tensor, scales[name], "equalized"))
        elif name == key or _prefix(key) in state.metadata or _is_of_torch(state, name):
            # What a module has not named in its metadata is not equalized.
            conversions.append(Conversion.alone(key, key, tensor, "not equalized"))
        else:
            without.append(key)
    if without:
        raise NoConstants(without)
    return conversions


def _stored(state: State, scales: Mapping[str, float]) -> list[Conversion]:
    if not scales:
        raise NoConstants([key for key, tensor in state.tensors.items() if tensor.dim() > 1])
    missing = [name for name in scales if name not in state.tensors]
    if missing:
        raise InvalidArgument("scales", missing[0], "names that the state_dict has")
    return [
        Conversion.scaled(key, key + SUFFIX, tensor, scales[key], "equalized")
        if key in scales
        else Conversion.alone(key, key, tensor, "not equalized")
        for key, tensor in state.tensors.items()
    ]


def _scales(state: State, scales: Mapping[str, float]) -> dict[str, float]:
    """The constants by plain names: those of the metadata, and those that the caller knows."""
    result: dict[str, float] = {}
    for prefix, module in state.metadata.items():
        if CONSTANTS not in module:
            continue
        constants = module[CONSTANTS]
        if not isinstance(constants, Mapping) or constants.get("version") != VERSION:
            version = constants.get("version") if isinstance(constants, Mapping) else constants
            raise UnknownVersion(f"'{prefix[:-1]}'", version, VERSION)
        checked = check_scales("scales", constants.get("scales"))
        result |= {prefix + name: scale for name, scale in checked.items()}
    for name, scale in scales.items():
        if result.setdefault(name, scale) != scale:
            raise InvalidArgument("scales", {name: scale}, f"{result[name]}, as the file says")
    return result


def _is_of_torch(state: State, name: str) -> bool:
    return any(name + companion in state.tensors for companion in TORCH_COMPANIONS)


def _prefix(key: str) -> str:
    return key[: key.rfind(".") + 1]


def suffixed_keys(state: State) -> list[str]:
    """The keys that are called as stored weights are, but for torch's own."""
    suffixed = [key for key in state.tensors if key.endswith(SUFFIX)]
    return [key for key in suffixed if not _is_of_torch(state, key.removesuffix(SUFFIX))]


def share(state: State) -> float:
    """All, if there are constants; without them names tell, a little less surely than others."""
    if any(CONSTANTS in module for module in state.metadata.values()):
        return 1.0
    prefixes = {_prefix(key) for key in suffixed_keys(state)}
    inside = sum(_prefix(key) in prefixes for key in state.tensors)
    return 0.99 * inside / max(len(state.tensors), 1)


def add_metadata(result: State, conversions: Sequence[Conversion]) -> None:
    """Notes the constants as equalized modules do, so that such a module can load them."""
    for conversion in conversions:
        if conversion.scale is None:
            continue
        prefix = _prefix(conversion.key)
        module = result.metadata.setdefault(prefix, {})
        constants = module.setdefault(CONSTANTS, {"version": VERSION, "scales": {}})
        constants["scales"][conversion.key[len(prefix) :]] = conversion.scale


EQUALIZED_LR = Family(
    OWN,
    "this library, layer/state_dict.py",
    facts={"scales": {}},
    converter=own,
    share=share,
    complete=add_metadata,
)
