"""Clipping at a threshold that the run itself tells (after Seetharaman et al. 2020, AutoClip, arXiv 2007.14469).

Pascanu et al. (2013) found 0.5 to 10 times the usual norm to work, so the highest of these that tames the run is looked
for. Norms alone cannot tell it for plain gradient descent: its step is as long as the gradient, so one step at the very
start, before anything is usual, can throw all units into saturation, where gradients are small and nothing is learned
any more. There a second bound knows how long a step may be: 1 % of the weights' own length.
"""

import math
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from torch import nn
from torch.optim import SGD, Optimizer

from longreach.errors import ArgumentError
from longreach.remedies.gradients import before_use, gradients, norm, parameters, shorten
from longreach.remedies.remedy import Remedy, remember
from longreach.remedies.threshold import Threshold

Opt = TypeVar("Opt", bound=Optimizer)

STRIDE = 0.01  # of the weights' length; a RNN of gain 4 learns with 0.003 and 0.01, and seldom with 0.001 or 0.1


@dataclass(frozen=True)
class Clipping:
    """What clip_auto has done to an optimizer so far.

    steps      gradients that were looked at
    bound      those of them that were longer than the threshold
    share      bound / steps
    threshold  of the latest gradient; inf before the first
    """

    steps: int
    bound: int
    share: float
    threshold: float


def clip_auto(optimizer: Opt) -> Opt:
    """Before every step, scale the gradient, as one vector, to a threshold that follows the run's own norms.

    Threshold  c times the median of the latest 256 norms. c starts at 10; each step of a burst, a gradient over the
               threshold right after another one, takes 30 % off it, down to 0.5; each calm one gives 2 % back
    With SGD   it is also no more than what moves the weights by 1 % of their length: 0.01·(1 - momentum)·‖θ‖/lr
    Promises   ‖g‖ <= threshold at every step, its direction kept
    Changes    nothing that the model computes
    Twice      is the same as once
    Undo       the hook leaves; the weights stay as they are
    Price      one norm over all gradients, with SGD one over all weights, and a wait for the device
    Is not     AutoClip, which takes the 10th percentile of all norms since the start: so it shortens nine steps of ten,
               and keeps for ever what was usual at the start. Norms that are not finite do not count, nor are they cut
    Report     longreach.remedies.clipping(optimizer)
    """
    if optimizer not in _clippers:
        clipper = _clippers[optimizer] = _Clipper()
        remember(optimizer, "clip-auto", _release, before_use(optimizer, clipper.clip))
    return optimizer


def clipping(optimizer: Optimizer) -> Clipping:
    """What clip_auto has done to this optimizer so far.

    Raises  ArgumentError if it is not applied
    """
    if optimizer not in _clippers:
        raise ArgumentError("clipping: expected an optimizer with clip-auto, got one without; apply it first")
    own = _clippers[optimizer]
    return Clipping(own.steps, own.bound, own.bound / max(own.steps, 1), own.threshold)


class _Clipper:
    """What was cut, and how long is too long."""

    def __init__(self):
        self.steps = self.bound = 0
        self.threshold = math.inf
        self._rule = Threshold()

    def clip(self, optimizer: Optimizer) -> None:
        """Shorten what is too long."""
        if not gradients(optimizer):
            return
        length = norm(optimizer)
        self.steps += 1
        if length.isfinite():
            self.threshold = min(self._rule.limit(length.item()), _stride(optimizer))
            is_over = length.item() > self.threshold
            self._rule.adapt(is_over)
            self.bound += is_over
            shorten(optimizer, self.threshold, length)


def _stride(optimizer: Optimizer) -> float:
    """The longest gradient whose step is short beside the weights, as far as an optimizer's step grows with it."""
    if not isinstance(optimizer, SGD):
        return math.inf
    pace = max(float(group["lr"]) / (1 - min(group["momentum"], 0.999)) for group in optimizer.param_groups)
    size = nn.utils.get_total_norm([own.detach() for own in parameters(optimizer)]).item()
    return STRIDE * size / pace if pace > 0 and 0 < size < math.inf else math.inf


_clippers: WeakKeyDictionary[Optimizer, _Clipper] = WeakKeyDictionary()


def _release(optimizer: Optimizer, hook: Any) -> None:
    hook.remove()
    del _clippers[optimizer]


REMEDY = Remedy(
    "clip-auto",
    clip_auto,
    "optimizer",
    preserves=True,
    answers=("exploding-in-time", "exploding-in-depth", "unstable-loss", "clipping-always-binds"),
    cost="one norm over all gradients, with SGD one over all weights",
    source="after Seetharaman et al. 2020, arXiv 2007.14469, and Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063",
)
