"""Clipping of the whole gradient (Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, algorithm 1)."""

from typing import Any, TypeVar

from torch import nn
from torch.optim import Optimizer

from longreach.errors import ArgumentError
from longreach.remedies.remedy import Remedy, applied, remember

O = TypeVar("O", bound=Optimizer)


def clip_norm(optimizer: O, *, max_norm: float = 1.0) -> O:
    """Before every step, scale the gradient of all parameters, as one vector, to `max_norm` if it is longer.

    Promises   ‖g‖ <= max_norm at every step, its direction kept
    Changes    nothing that the model computes
    Twice      is the same as once; with another max_norm, the smaller one holds
    Undo       the hook leaves; the weights stay as they are
    Price      one norm over all gradients a step
    Is not     clipping of single entries, which turns the direction; nor a cure where every step is clipped (LR504)
    Raises     ArgumentError unless max_norm > 0
    """
    if not max_norm > 0:
        raise ArgumentError(f"max_norm: expected a norm above 0, got {max_norm}")

    def clip(optimizer: Optimizer, *_: Any) -> None:
        parameters = [own for group in optimizer.param_groups for own in group["params"]]
        nn.utils.clip_grad_norm_(parameters, max_norm)

    remember(optimizer, "clip-norm", _release, optimizer.register_step_pre_hook(clip))
    return optimizer


def _release(_: Optimizer, hook: Any) -> None:
    hook.remove()


REMEDY = Remedy(
    "clip-norm",
    clip_norm,
    "optimizer",
    preserves=True,
    answers=("exploding-in-time", "exploding-in-depth", "unstable-loss", "non-finite"),
    cost="one norm over all gradients",
    source="Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, algorithm 1",
)
