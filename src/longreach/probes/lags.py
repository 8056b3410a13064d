"""At which lags the curves are read."""

import math
from operator import index
from typing import Any

from longreach.errors import ArgumentError


def lag_grid(horizon: int) -> tuple[int, ...]:
    """Every lag up to 16, then eight per octave, the horizon always among them.

    Telemetry so grows with ln(horizon): 17 lags for 16 steps, 65 for 1,000, 92 for 10,000.
    """
    fine = range(min(horizon, 16) + 1)
    octaves = math.log2(max(horizon, 16) / 16)
    coarse = (round(16 * 2 ** (step / 8)) for step in range(1, math.ceil(8 * octaves) + 1))
    return tuple(sorted({*fine, *(lag for lag in coarse if lag < horizon), horizon}))


def split(lags: tuple[int, ...], longest: int) -> list[int]:
    """The same lags with others put between them, so that no two neighbours lie more than `longest` steps apart."""
    borders = [lags[0]]
    for lag in lags[1:]:
        pieces = math.ceil((lag - borders[-1]) / longest)
        start = borders[-1]
        borders += [start + round((lag - start) * piece / pieces) for piece in range(1, pieces + 1)]
    return borders


def check_lags(lags: Any, horizon: int) -> tuple[int, ...]:
    """The lags that somebody asked for, ascending, each once. Raises ArgumentError where one does not exist."""
    try:
        found = tuple(sorted({index(lag) for lag in lags}))
    except TypeError:
        found = ()
    if not found or found[0] < 0 or found[-1] > horizon:
        raise ArgumentError(
            f"lags: expected whole numbers from 0 to {horizon}, the steps of the inputs less one, got {lags!r}"
        )
    return found
