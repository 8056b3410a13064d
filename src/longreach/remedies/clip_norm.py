"""Clipping of the whole gradient (Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, algorithm 1)."""

from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from torch.optim import Optimizer

from longreach.errors import ArgumentError
from longreach.remedies.gradients import before_use, norm, shorten
from longreach.remedies.remedy import Remedy, remember

Opt = TypeVar("Opt", bound=Optimizer)

_limits: WeakKeyDictionary[Optimizer, float] = WeakKeyDictionary()


def clip_norm(optimizer: Opt, *, max_norm: float = 1.0) -> Opt:
    """Before every step, scale the gradient of all parameters, as one vector, to `max_norm` if it is longer.

    Promises   ‖g‖ <= max_norm at every step, its direction kept; also in every call of a step's closure, and without
               the scale of a loss that a GradScaler has put on
    Changes    nothing that the model computes
    Twice      is the same as once; with another max_norm, the smaller one holds
    Undo       the hook leaves; the weights stay as they are
    Price      one norm over all gradients a step, and a wait for the device
    Is not     clipping of single entries, which turns the direction; nor a cure where every step is clipped (LR504), or
               for gradients that are not finite, which stay as they are: guard is; nor for LBFGS, which learns from
               differences of gradients
    Raises     ArgumentError unless max_norm > 0
    """
    if not max_norm > 0:
        raise ArgumentError(f"max_norm: expected a norm above 0, got {max_norm}")
    if optimizer in _limits:
        _limits[optimizer] = min(_limits[optimizer], max_norm)
        return optimizer
    _limits[optimizer] = max_norm
    remember(optimizer, "clip-norm", _release, before_use(optimizer, _clip))
    return optimizer


def _clip(optimizer: Optimizer) -> None:
    shorten(optimizer, _limits[optimizer], norm(optimizer))


def _release(optimizer: Optimizer, hook: Any) -> None:
    hook.remove()
    del _limits[optimizer]


REMEDY = Remedy(
    "clip-norm",
    clip_norm,
    "optimizer",
    preserves=True,
    answers=("exploding-in-time", "exploding-in-depth", "unstable-loss", "non-finite"),
    cost="one norm over all gradients",
    source="Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, algorithm 1",
)
