"""The size of the whole gradient, as it came back and as the optimizer used it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from longreach.probes.samples import Sample
from longreach.quantities.updates import EARLY, middle

# Between what came back and what was used: smaller differences are rounding.
ALIKE = 0.01


@dataclass(frozen=True)
class GradientNorm(Sample):
    """One optimizer step; `place` is "".

    before  ‖g‖ of all parameters after the backward pass, with the scale of a loss scaler taken out
    after   the same as the optimizer was about to use it: after clipping; NaN where this was not looked at
    """

    before: float
    after: float


@dataclass(frozen=True)
class Gradients:
    """The norm of the whole gradient over the run.

    steps    training steps at which it was looked at, ascending
    before   ‖g‖ there, after the backward pass, with the scale of a loss scaler taken out; NaN and infinities are kept
    after    the same just before the optimizer step; NaN where this was not looked at
    """

    steps: tuple[int, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]


@dataclass(frozen=True)
class Shrunk:
    """What was done to gradients between the backward pass and the step, as sampled steps show it.

    share   of the sampled steps beyond the first tenth of the run, the part in which the norm became smaller
    factor  how many times smaller, in the middle
    limit   the norm that they were brought to, in the middle
    level   whether all of them were brought to that same norm, to 1 %
    """

    share: float
    factor: float
    limit: float
    level: bool


def pool(samples: Sequence[GradientNorm]) -> Gradients | None:
    """All looks in the order of the run; None if there was none."""
    if not samples:
        return None
    columns = ((sample.step, sample.before, sample.after) for sample in samples)
    steps, before, after = zip(*columns, strict=True)
    return Gradients(steps, before, after)


def shrunk(gradients: Gradients | None, steps: int) -> Shrunk | None:
    """What clipping has done, seen from both of its sides; None where no sampled step showed both."""
    if gradients is None:
        return None
    rows = zip(gradients.steps, gradients.before, gradients.after, strict=True)
    both = [(b, a) for step, b, a in rows if step >= EARLY * steps and 0 < b < math.inf and 0 <= a < math.inf]
    if not both:
        return None
    smaller = [(b, a) for b, a in both if 0 < a < (1 - ALIKE) * b]
    limit = middle([a for _, a in smaller])
    level = all(abs(a - limit) <= ALIKE * limit for _, a in smaller)
    return Shrunk(len(smaller) / len(both), middle([b / a for b, a in smaller]), limit, bool(smaller) and level)
