"""Reach and growth: what the curves of the sampled steps say together."""

import math
from collections.abc import Sequence

import numpy as np

from longreach.probes.lags import lag_grid
from longreach.probes.samples import Curve
from longreach.record import Denormals, Reach

THRESHOLD = 0.01


def pool(curves: Sequence[Curve], *, threshold: float = THRESHOLD) -> Reach | None:
    """The median curve of several sampled steps, its reach and its growth; None where no step could be sampled.

    Steps of different horizon meet on one grid of lags; between its own lags a curve is read off linearly in
    (lag, ln gain).
    """
    if not curves:
        return None
    horizon = max(curve.lags[-1] for curve in curves)
    # besides the usual lags any that all of them have, such as the end of a receptive field
    grid = tuple(sorted({*lag_grid(horizon), *set.intersection(*(set(curve.lags) for curve in curves))}))
    gain = _median([_on(grid, curve.lags, curve.log_gain) for curve in curves])
    signals = [_on(grid, curve.lags, curve.log_signal) for curve in curves if curve.log_signal is not None]
    return Reach(
        lag=reach_of(grid, gain, threshold),
        threshold=threshold,
        horizon=horizon,
        growth=growth_of(grid, gain),
        lags=grid,
        log_gain=gain,
        log_signal=_median(signals) if signals else None,
        samples=len(curves),
    )


def reach_of(lags: Sequence[int], log_gain: Sequence[float], threshold: float = THRESHOLD) -> int:
    """The largest lag k with gain(k) >= threshold; between two measured lags ln gain is taken to be linear in k."""
    limit = math.log(threshold)
    held = [place for place, value in enumerate(log_gain) if value >= limit]
    if not held:
        return 0
    place = held[-1]
    if place + 1 == len(lags) or math.isnan(log_gain[place + 1]):
        return lags[place]
    here, there = log_gain[place], log_gain[place + 1]
    part = 0.0 if math.isinf(there) or math.isinf(here) else (here - limit) / (here - there)
    return lags[place] + math.floor(part * (lags[place + 1] - lags[place]) + 1e-9)


def growth_of(lags: Sequence[int], log_gain: Sequence[float]) -> float:
    """Slope of ln gain(k) over k by least squares over the finite part of the curve; nats per step.

    -inf where a gradient is gone after a single step; NaN where nothing but lag 0 was measured.
    """
    points = [(lag, value) for lag, value in zip(lags, log_gain, strict=True) if math.isfinite(value)]
    if len(points) < 2:
        return float("-inf") if len(lags) > 1 and log_gain[1] == float("-inf") else float("nan")
    lag, value = np.array(points).T
    lag = lag - lag.mean()
    return float(lag @ value / (lag @ lag))


def denormals(curves: Sequence[Curve]) -> Denormals | None:
    """The stretch of lags in which at least half of a gradient's entries are subnormal; None where there is none."""
    curves = [curve for curve in curves if curve.subnormal is not None]
    if not curves:
        return None
    curve = curves[-1]
    hit = [lag for lag, share in zip(curve.lags, curve.subnormal or (), strict=True) if share >= 0.5]
    if not hit:
        return None
    share = (hit[-1] - hit[0] + 1) / (curve.lags[-1] + 1)
    return Denormals(first_lag=hit[0], last_lag=hit[-1], share=share, flushed=curve.flushed)


def _on(grid: Sequence[int], lags: Sequence[int], values: Sequence[float]) -> np.ndarray:
    """A curve read at the lags of another grid; NaN beyond its own horizon. -inf stays -inf."""
    gone = np.array(values) == -np.inf
    level = np.where(gone, 0.0, values)
    read = np.interp(grid, lags, level, right=np.nan)
    touched = np.interp(grid, lags, gone.astype(float), right=0.0) > 0
    return np.where(touched, -np.inf, read)


def _median(curves: list[np.ndarray]) -> tuple[float, ...]:
    columns = (column[~np.isnan(column)] for column in np.array(curves).T)
    return tuple(float(np.median(column)) if column.size else float("nan") for column in columns)
