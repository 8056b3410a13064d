"""What a loss curve says about the run: solved, falling, or jumping.

The first tenth of the curve is the transient, in which a network learns the mean of its targets and little else; it
happens even where nothing can be learned. What follows is read in quarters, by medians, so that single spikes decide
nothing. NaN counts as +inf. A loss that goes below zero (a log-likelihood) has no natural zero: shares of it mean
nothing, and it is not judged.
"""

import math
from statistics import median

from longreach.record import LossCurve

SOLVED = 0.05  # of the start: what is left is mostly the noise of training, and there is nothing to gain
FEWEST = 8  # points after the transient: two in each quarter
JUMP = 10.0  # times the early loss: far outside what mini-batches differ by, even after averaging over a stretch


def solved(curve: LossCurve | None) -> bool:
    """Whether the last tenth of the curve lies at or below 5 % of the first tenth. False where it cannot be judged.

    Blind to   a start so far off (targets with a large mean) that merely learning the mean looks like solving
    """
    values = _values(curve)
    if len(values) < 2:
        return False
    tenth = max(1, len(values) // 10)
    start, end = median(values[:tenth]), median(values[-tenth:])
    return math.isfinite(start) and end <= SOLVED * start


def fall(curve: LossCurve | None) -> float | None:
    """The share of the early loss that is gone in the last quarter; negative if the loss rose.

    None where it cannot be judged: fewer than 8 points after the transient, a loss below zero or of exactly zero, or
    one that is not finite in half of the first or last quarter.
    """
    values = _settled(curve)
    if not values:
        return None
    quarter = len(values) // 4
    early, late = median(values[:quarter]), median(values[-quarter:])
    return (early - late) / early if 0 < early < math.inf and late < math.inf else None


def jump(curve: LossCurve | None) -> float | None:
    """The largest finite loss after the transient, in units of the early loss, if that is 10 or more; else None."""
    values = _settled(curve)
    if not values:
        return None
    early = median(values[: len(values) // 4])
    highest = max((value for value in values if value < math.inf), default=0.0)
    return highest / early if 0 < early < math.inf and highest >= JUMP * early else None


def _settled(curve: LossCurve | None) -> tuple[float, ...]:
    """The values after the transient; empty where they are too few."""
    values = _values(curve)
    values = values[max(1, math.ceil(len(values) / 10)) :]
    return values if len(values) >= FEWEST else ()


def _values(curve: LossCurve | None) -> tuple[float, ...]:
    """The values, NaN as +inf; empty for a curve that cannot be judged in shares."""
    values = tuple(math.inf if math.isnan(value) else value for value in curve.values) if curve else ()
    return values if all(value >= 0 for value in values) else ()
