"""Whether plain weights have the size that goes with their c."""

import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from equalized_lr.tensors import norm

# torch's own layers begin with 0.4 of He's standard deviation.
FAR = 3.0

drawn_scales: Any = WeakTensorKeyDictionary()  # the c with which `init_` has drawn a Parameter


class OtherSpread(UserWarning):
    """Weights that are far from N(0, c**2), so that their relative speed is another one.

    Example:
        >>> import warnings
        >>> layer = init_(nn.Linear(8, 8), gain=1.0)
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     optimizer = implicit(torch.optim.Adam, layer)
        >>> caught[0].category.__name__
        'OtherSpread'
    """


def warn_of_other_spreads(module: nn.Module, scales: Mapping[Tensor, float]) -> None:
    """Warns of weights that were drawn for another c, or whose size is far from theirs."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in module.named_parameters()}
    far = [f"{names.get(p, 'a weight')} ({why})" for p, c in scales.items() for why in _why(p, c)]
    if far:
        more = f" and {len(far) - 3} more" if len(far) > 3 else ""
        warnings.warn(
            f"weights do not have the size that goes with their c: {', '.join(far[:3])}{more}. "
            "They would learn faster or slower than the others, by that factor. Give init_ and "
            "implicit the same scales=; weights that were trained, or drawn with lr_mul, may stay "
            "as they are.",
            OtherSpread,
            stacklevel=3,
        )


def _why(parameter: Tensor, c: float) -> Iterator[str]:
    if parameter in drawn_scales:
        drawn = drawn_scales[parameter]
        if not math.isclose(drawn, c, rel_tol=1e-9):
            yield f"init_ drew it with c = {drawn:.3g}, and it is trained with {c:.3g}"
    elif parameter.ndim >= 2 and parameter.numel() >= 16 and not parameter.is_meta:
        size = float(norm(parameter.detach())) / math.sqrt(parameter.numel())
        if size and not c / FAR < size < c * FAR:
            yield f"its size is {size:.3g}, and c = {c:.3g}"
