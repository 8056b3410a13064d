"""The gradient that an optimizer is about to use: that of all its parameters, as one vector."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from longreach import closures


def before_use(optimizer: Optimizer, act: Callable[[Optimizer], None]) -> Any:
    """Call `act(optimizer)` whenever it is about to use gradients; gives a handle to remove."""
    return optimizer.register_step_pre_hook(closures.before_use(act))


def parameters(optimizer: Optimizer) -> list[Tensor]:
    """All that an optimizer trains."""
    return [own for group in optimizer.param_groups for own in group["params"]]


def gradients(optimizer: Optimizer) -> list[Tensor]:
    """All gradients that there are, of sparse ones what they hold."""
    found = [own.grad for own in parameters(optimizer) if own.grad is not None]
    return [grad.coalesce().values() if grad.is_sparse else grad for grad in found]


@torch.no_grad()
def norm(optimizer: Optimizer) -> Tensor:
    """The length of the gradient, also where its squares overflow; 0 without one. Waits for a device.

    A loss scale that the optimizer itself is about to take out, as fused ones do, is out of it.
    """
    found = gradients(optimizer)
    total = nn.utils.get_total_norm(found)
    if not total.isfinite():
        unit = max((grad.abs().max().item() for grad in found if grad.numel()), default=0.0)
        total = nn.utils.get_total_norm([grad / unit for grad in found]) * unit
    scale = getattr(optimizer, "grad_scale", None)
    return total if scale is None else total / scale


def shorten(optimizer: Optimizer, limit: float, length: Tensor) -> None:
    """Scale a gradient of this length to `limit`, if it is longer. One that is not finite stays as it is."""
    if length.isfinite():
        torch.nn.utils.clip_grads_with_norm_(parameters(optimizer), limit, length)  # where a watch hears of it
