"""How much better one arm of a trial ended than another, seed by seed, and how sure that is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

RESAMPLES = 9999


@dataclass(frozen=True)
class Effect:
    """The mean of the paired differences, control minus arm: above 0 the arm is better.

    estimate   the mean difference; unit of the loss
    low, high  an interval that holds the true one with probability 1 - level; infinite below two seeds
    seeds      pairs
    better     pairs in which the arm is better
    level      the chance of error that the interval allows, both sides together
    """

    estimate: float
    low: float
    high: float
    seeds: int
    better: int
    level: float


def effect(control: Sequence[float], arm: Sequence[float], *, level: float, higher_is_better: bool = False) -> Effect:
    """From what control and arm ended with on the same seeds, all finite; the order is that of the seeds.

    Interval   the hull of Student's and of the percentile bootstrap's. The bootstrap cannot leave the range of what was
               seen: with three seeds it excludes 0 in a quarter of all cases without an effect, whatever the level.
               Student's is right there. Where differences have a long tail towards 0, the bootstrap sees it and
               Student's, being symmetric, does not. The hull is as cautious as the more cautious of the two.
    Is not     safe alone against seeds that are solved or not by chance: three pairs that differ by the same large
               amount make any interval short. For that there is `luck`
    """
    difference = np.subtract(control, arm) * (-1.0 if higher_is_better else 1.0)
    seeds, better = len(difference), int((difference > 0).sum())
    estimate = float(difference.mean()) if seeds else 0.0
    if seeds < 2:
        return Effect(estimate, -math.inf, math.inf, seeds, better, level)
    margin = float(-stdtrit(seeds - 1, level / 2) * difference.std(ddof=1) / math.sqrt(seeds))
    lowest, highest = bootstrap(difference, level)
    return Effect(estimate, min(estimate - margin, lowest), max(estimate + margin, highest), seeds, better, level)


def bootstrap(difference: np.ndarray, level: float) -> tuple[float, float]:
    """The percentile interval of the mean (Efron 1979). Draws from a generator of its own: the same every time."""
    drawn = np.random.default_rng(0).integers(len(difference), size=(RESAMPLES, len(difference)))
    low, high = np.quantile(difference[drawn].mean(axis=1), [level / 2, 1 - level / 2])
    return float(low), float(high)


def luck(seeds: int, controls: int) -> float:
    """How likely, at most, an arm without effect is right on all seeds and each of `controls` controls on none.

    If every run is solved with the same chance p, by luck alone, that is (p (1 - p)ᶜ) per seed; the worst p is
    1/(1 + c). One control: 4⁻ⁿ, 1.6 % with three seeds. Two: (4/27)ⁿ, 0.3 % with three and 0.007 % with five.
    """
    p = 1 / (1 + controls)
    return (p * (1 - p) ** controls) ** seeds
