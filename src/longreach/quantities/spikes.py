"""Jumps of the loss that last: found while the run goes on, where every step can still be seen."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from longreach.probes.samples import Curve, LayerKey, Sample

# The level of the loss, and how it is scattered, are those of so many steps before.
WINDOW, FEWEST = 64, 16
# A jump is twice the level, and this often the distance from the median to the 95th percentile beyond it: more than
# heavy noise reaches, and more than single examples differ by, of which a few in a hundred may be hard.
TIMES, SPREADS = 2.0, 8.0
# Of so many steps in a row this part has to be beyond that: a single batch that fits badly is no jump.
LASTING, MOST = 8, 0.75
# A gradient has risen when it is so many times its own median of the steps before; before the jump, or soon after.
RISEN, BEFORE, AFTER = 10.0, 32, 4


@dataclass(frozen=True)
class Spike(Sample):
    """One jump of the loss; `place` is "".

    level   median of the loss before it
    height  the largest loss in it; inf where it was not finite
    lasted  steps until the loss was back; at most 64, then the new level is taken for the usual one
    over    whether it came back: not within 64 steps, or before the run ended
    module  dotted name of the module whose gradient rose first; "" if that is not known
    rose    the step at which it did; -1 if that is not known
    factor  how many times its usual norm it was then
    lag     where the module is recurrent: how many steps back the gradient was largest, at the sampled step nearest to
            the jump; -1 if that is not known
    """

    level: float
    height: float
    lasted: int
    over: bool
    module: str
    rose: int
    factor: float
    lag: int = -1


@dataclass(frozen=True)
class Jump:
    """What the losses alone tell of a jump; fields as in Spike."""

    step: int
    level: float
    height: float
    lasted: int
    over: bool


@dataclass(frozen=True)
class Riser:
    """Whose gradient rose first: the module, the step, and how many times its usual norm it was."""

    module: str
    step: int
    factor: float


class Watcher:
    """Reads one loss after the other, and says where one begins that is far above its level, and lasts.

    limit  a loss beyond this is suspicious
    Cost   some 10 µs a step
    """

    def __init__(self):
        self.limit = math.inf
        self._level = math.nan
        self._window: deque[float] = deque(maxlen=WINDOW)
        self._began: int | None = None
        self._jump: list[float] = []

    @property
    def began(self) -> int | None:
        """The step at which the loss jumped; None while it is as usual."""
        return self._began

    @property
    def age(self) -> int:
        """How many losses of a jump have been read; 0 while the loss is as usual."""
        return len(self._jump) if self._began is not None else 0

    def read(self, step: int, loss: float) -> Jump | None:
        """A jump that is over with this step, or has lasted long enough to be the new level; None most often."""
        loss = math.inf if math.isnan(loss) else loss
        if self._began is None and loss <= self.limit:
            self._usual(loss)
            return None
        if self._began is None:
            self._began, self._jump = step, []
        self._jump.append(loss)
        if len(self._jump) < LASTING:
            return None  # too early to tell
        high = self._beyond(self._jump[:LASTING])
        if high and len(self._jump) < WINDOW and self._beyond(self._jump[-LASTING:]):
            return None
        found = self._jumped(over=len(self._jump) < WINDOW) if high else None
        self._began = None
        if not high or len(self._jump) == WINDOW:
            for value in self._jump:  # single batches are part of the usual scatter; and so is what has come to stay
                self._usual(value)
        return found

    def _beyond(self, losses: list[float]) -> bool:
        return sum(loss > self.limit for loss in losses) >= MOST * len(losses)

    def finish(self) -> Jump | None:
        """The jump that the run has ended in; None if it has not."""
        unfinished = self.age >= LASTING and self._beyond(self._jump)
        return self._jumped(over=False) if unfinished else None

    def _jumped(self, *, over: bool) -> Jump:
        assert self._began is not None
        return Jump(self._began, self._level, max(self._jump), len(self._jump), over)

    def _usual(self, loss: float) -> None:
        self._window.append(loss)
        if len(self._window) >= FEWEST:
            ordered = sorted(self._window)
            self._level = ordered[len(ordered) // 2]
            high = ordered[len(ordered) * 19 // 20]
            self.limit = max(TIMES * self._level, self._level + SPREADS * (high - self._level))
            if ordered[0] < 0 or not math.isfinite(self.limit):
                self.limit = math.inf  # a loss below zero has no natural level


def pool(samples: Sequence[Spike], curves: dict[LayerKey, list[Curve]]) -> tuple[Spike, ...]:
    """All jumps in the order of the run, with the lag as the curves of their modules tell it."""
    return tuple(replace(spike, lag=_lag(spike, curves)) for spike in samples)


def _lag(spike: Spike, curves: dict[LayerKey, list[Curve]]) -> int:
    found = [curve for key, some in curves.items() if key.module == spike.module for curve in some if curve.log_signal]
    nearest = min(found, key=lambda curve: abs(curve.step - spike.rose), default=None)
    if nearest is None or nearest.log_signal is None:
        return -1
    return max(zip(nearest.lags, nearest.log_signal, strict=True), key=lambda pair: (pair[1], -pair[0]))[0]


def rose_first(looks: Sequence[tuple[int, dict[str, float]]], jumped: int) -> Riser | None:
    """Of norms by module at the steps that were looked at, the first that was ten times its usual, near a jump.

    Of several modules at one step, the one that rose most.
    """
    for place, (step, norms) in enumerate(looks):
        if not jumped - BEFORE <= step <= jumped + AFTER:
            continue
        risen = []
        for module, norm in norms.items():
            usual = [before[module] for _, before in looks[:place] if math.isfinite(before.get(module, math.nan))]
            if len(usual) >= LASTING and norm > RISEN * (level := median(usual)):
                risen.append((norm / level if level > 0 else math.inf, module))
        if risen:
            factor, module = max(risen)
            return Riser(module, step, factor)
    return None
