"""How the loss behaves from step to step: single batches that stand out, and swinging to and fro."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from longreach.quantities.updates import EARLY

# The level of the loss is the median of so many steps around.
BLOCK, FEWEST = 64, 32
# A single loss stands out from so many times the level on: of a loss scaled by the exponential of a normal number one
# in 700 does.
STANDS_OUT = 20.0


@dataclass(frozen=True)
class Restless:
    """The losses beyond the first tenth of the run, one by one.

    steps    how many there are
    bursts   the share of them that are more than 20 times the level around them, or not finite
    height   how many times that level these are, in the middle; 1 where there are none
    swing    correlation of neighbouring losses, each taken as a logarithm and from its level; near 0 for the noise of
             mini-batches, towards -1 where every step throws over what the one before has done; NaN if not known
    """

    steps: int
    bursts: float
    height: float
    swing: float


def pool(losses: Sequence[tuple[int, float]], steps: int) -> Restless | None:
    """None where there are too few losses, or some below zero: those have no natural level."""
    values = np.array([math.inf if math.isnan(value) else value for step, value in losses if step >= EARLY * steps])
    if len(values) < FEWEST or (values < 0).any():
        return None
    blocks = np.array_split(values, max(1, len(values) // BLOCK))
    levels = np.concatenate([np.full(len(block), np.median(block)) for block in blocks])
    with np.errstate(all="ignore"):
        times = np.where(levels > 0, values / levels, np.where(np.isfinite(values), 1.0, np.inf))
        out = (times > STANDS_OUT) | ~np.isfinite(values)
        logs = np.log(times)
    usual = logs[np.isfinite(logs) & ~out]
    return Restless(
        steps=len(values),
        bursts=float(out.mean()),
        height=float(np.median(times[out])) if out.any() else 1.0,
        swing=float(np.corrcoef(usual[:-1], usual[1:])[0, 1]) if len(usual) >= FEWEST and usual.std() > 0 else math.nan,
    )
