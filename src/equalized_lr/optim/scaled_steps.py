"""`ScaledSteps`: any optimizer steps on stored weights, without a translation of its rule."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn
from torch.optim import Optimizer

from equalized_lr.errors import InvalidArgument
from equalized_lr.handover.groups import is_rescaled, scale_of
from equalized_lr.handover.guard import guard
from equalized_lr.handover.scaled_steps import StoredSteps, stored_steps_of
from equalized_lr.plan.scales import scales_by_parameter


class ScaledSteps(StoredSteps):
    """Runs every step of an optimizer on the stored weights w = ŵ / c of a plain model.

    For the length of a step the parameters are divided by c and their gradients multiplied by it;
    then the parameters are multiplied again. So every optimizer does what it would do in the
    explicit form, also one that nobody here knows. Its state is that of the explicit form. Step
    hooks and closures see the plain weights and gradients.

    It costs a few passes over the parameters and gradients, and while a step lasts, memory for a
    second copy of both. Each weight that steps is rounded twice, unless c is a power of two; one
    that does not step keeps its bits. Where `implicit` knows a class it costs nothing: use that.

    What an optimizer does to parameters outside of its step, such as the `eval()` of
    schedule-free ones, belongs inside of `with scaled_steps.stored():`.

    Example:
        >>> layer = nn.Linear(200, 3)
        >>> optimizer = torch.optim.LBFGS(layer.parameters())
        >>> scaled_steps = ScaledSteps(optimizer, layer)
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = layer(torch.ones(1, 200)).square().sum()
        ...     loss.backward()
        ...     return loss
        >>> bool(optimizer.step(closure) > closure())
        True

    Args:
        optimizer: one that trains parameters of `module`, and has not stepped yet; it is used as
            before, by schedulers and gradient scalers too.
        module: plain, equalized or mixed; equalized weights are stored ones already.
        scales: plain qualified names and their c, `he_scales(module)` if left out.

    Attributes:
        optimizer: the optimizer.
        scales: c of each parameter that steps on other values than its own.

    Raises:
        InvalidArgument: `scales` has a name that the module has not, or the optimizer is translated
            or runs under `ScaledSteps` already.
        KeepsValues: the optimizer has stepped, or keeps weights as a Lookahead does.
        Unscalable: a stored weight does not fit into its dtype.
        UnknownScale: later, from `add_param_group`; see `add_parameters`.
        OtherForm: later, from `load_state_dict` with a state of translated groups.
        NotCopyable: later, from `copy` or `pickle` of the optimizer, which would lose this. Its
            state_dict is saved and loaded as always.
    """

    def __init__(
        self, optimizer: Optimizer, module: nn.Module, scales: Mapping[str, float] | None = None
    ) -> None:
        kind = type(optimizer).__name__
        if stored_steps_of(optimizer):
            raise InvalidArgument("optimizer", kind, "one without ScaledSteps")
        by_parameter = scales_by_parameter(module, scales)
        if any(scale_of(g) != 1 and is_rescaled(g, by_parameter) for g in optimizer.param_groups):
            raise InvalidArgument("optimizer", kind, "one whose groups are not translated")
        super().__init__(optimizer, by_parameter)
        guard(optimizer)
