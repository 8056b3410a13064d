"""At which lags the curves are read."""

import math


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
