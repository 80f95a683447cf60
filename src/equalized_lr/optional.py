"""What may be absent: packages that only some calls need, and what old versions of torch lack."""

import importlib
from typing import Any

from torch import Tensor, compiler, optim
from torch._C import _autograd
from torch.fx import _symbolic_trace

from equalized_lr.errors import MissingPackage


def needed(name: str, *facts: str) -> Any:
    """A module of another package, or `MissingPackage`, with facts on what needs it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingPackage(name.partition(".")[0], *facts) from None


# Before torch 2.9 there is no Muon.
MUON: type[optim.Optimizer] | None = getattr(optim, "Muon", None)


is_fx_symbolic_tracing = getattr(
    _symbolic_trace,
    "is_fx_symbolic_tracing",  # since torch 2.9
    lambda: _symbolic_trace._is_fx_tracing_flag and not compiler.is_compiling(),
)


def set_version(tensor: Tensor, version: int) -> None:
    """Puts a tensor's count of changes back."""
    setter: Any = _autograd._unsafe_set_version_counter
    try:
        setter((tensor,), (version,))
    except TypeError:  # in torch 2.6 it takes one tensor
        setter(tensor, version)
