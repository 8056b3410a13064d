"""The season of a series, and what the rules without a network forecast."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Int64

LEAST = 0.1  # autocorrelation that a season shows
ERRORS = 5
NEARLY = 0.9  # of the highest: the shortest lag that comes so close is the season; its multiples come as close
LENGTH = 7  # steps of a series that can show a season
CHUNK = 4096  # windows looked at together

Values = Float[np.ndarray, " row"]


def autocorrelation(values: Values, lags: int) -> Float[np.ndarray, " lag"]:
    """r(k) = Σ d(t) d(t-k) / n(k) over Σ d² / n(0), d(t) = x(t) - x(t-1) less its mean; lags 0 to `lags`.

    Differences  take away level and trend, which would make every lag look alike
    Missing      NaN; n(k) counts the pairs of which both are there
    Cost         one Fourier transform
    """
    steps = np.diff(values.astype(np.float64))
    there = ~np.isnan(steps)
    centred = np.where(there, steps - (steps[there].mean() if there.any() else 0.0), 0.0)
    size = 2 ** int(np.ceil(np.log2(max(2 * len(steps), 2))))

    def products(row: np.ndarray) -> np.ndarray:
        return np.fft.irfft(np.abs(np.fft.rfft(row, size)) ** 2, size)[: lags + 1]

    mean = products(centred) / np.maximum(products(there.astype(float)).round(), 1)
    return mean / mean[0] if mean[0] > 0 else np.zeros(lags + 1)


def season_of(series: Iterable[Values]) -> int | None:
    """Steps after which the series repeat themselves, by their autocorrelation; None where they do not.

    Season   near the shortest lag above 1 with a peak within NEARLY of the highest one, the lag whose multiples show
             the highest mean; three seasons must fit
    Peaks    are more than twice as high as what lies half a season before and after, and above LEAST and ERRORS
             standard errors √((1 + 2 r(1)²) / n) where neighbours alone depend on each other (Bartlett 1946)
    Noise    hides a long season in the differences: where none is found, means of 2, 4, 8, … steps are looked at
    Several  series: the mean of their autocorrelations, each over its number of steps
    """
    rows, wide = [values for values in series if len(values) >= LENGTH], 1
    while rows:
        found = _season(rows)
        if found:
            return wide * found
        rows, wide = [_means(values, 2) for values in rows if len(values) >= 2 * LENGTH], 2 * wide
    return None


def repeats(series: Iterable[Values], period: int, parts: int) -> bool:
    """Whether series show a cycle of so many steps: the autocorrelation at that lag stands out as a season's does.

    parts  of the cycle, whose means are looked at: days of a week, months of a year
    """
    width = max(1, period // parts)
    rows = [_means(values, width) for values in series]
    lag = round(period / width)
    r, weight = _mean_autocorrelation([values for values in rows if len(values) > 2 * lag])
    return len(r) > lag and bool(r[lag] > _least(r, weight)[lag])


def _means(values: Values, width: int) -> Values:
    """Of so many steps each."""
    blocks = values[: len(values) // width * width].reshape(-1, width)
    count = (~np.isnan(blocks)).sum(axis=1)
    return np.where(count > 0, np.nansum(blocks, axis=1) / np.maximum(count, 1), np.nan)


def _season(rows: list[Values]) -> int | None:
    r, weight = _mean_autocorrelation(rows)
    lags = np.arange(2, 2 * len(r) // 3 - 1)
    valleys = np.maximum(r[lags // 2], r[lags + lags // 2])
    top = (r[lags] >= r[lags - 1]) & (r[lags] > r[lags + 1]) & (r[lags] > 2 * valleys)
    peaks = lags[top & (r[lags] > _least(r, weight)[lags])]
    if not len(peaks):
        return None
    first = int(peaks[r[peaks] >= NEARLY * r[peaks].max()][0])
    near = range(max(2, round(0.8 * first)), min(round(1.2 * first), 2 * len(r) // 3) + 1)
    return max(near, key=lambda lag: r[lag::lag].mean())


def _mean_autocorrelation(rows: list[Values]) -> tuple[Float[np.ndarray, " lag"], Float[np.ndarray, " lag"]]:
    """Of several series, up to half of each; and the steps that each lag was measured on."""
    longest = max(map(len, rows), default=0)
    total, weight = np.zeros(longest // 2 + 1), np.zeros(longest // 2 + 1)
    for values in rows:
        own = len(values) // 2
        total[: own + 1] += len(values) * autocorrelation(values, own)
        weight[: own + 1] += len(values)
    return total / np.maximum(weight, 1), weight


def _least(r: Float[np.ndarray, " lag"], weight: Float[np.ndarray, " lag"]) -> Float[np.ndarray, " lag"]:
    """What an autocorrelation has to be above to stand out."""
    return np.maximum(LEAST, ERRORS * np.sqrt((1 + 2 * r[1] ** 2) / np.maximum(weight - np.arange(len(r)), 1)))


def rules(season: int | None) -> dict[str, int]:
    """Name of each rule, and how many of the last values it repeats."""
    return {"last value": 1} | ({f"the value {season} steps before": season} if season else {})


def repeated(
    filled: Float[np.ndarray, "row target"], starts: Int64[np.ndarray, " window"], horizon: int, period: int
) -> Float[np.ndarray, "window step target"]:
    """Forecast of a rule: the last `period` values again and again."""
    return filled[starts[:, None] - period + np.arange(horizon) % period]


def scored(
    values: Float[np.ndarray, "row target"],
    filled: Float[np.ndarray, "row target"],
    starts: Int64[np.ndarray, " window"],
    horizon: int,
    period: int,
) -> dict[str, float]:
    """MAE and MSE of such a rule over all windows.

    values  NaN where nothing was measured; filled: the last measured value there
    starts  row of the first step to be forecast
    """
    absolute, square, count = 0.0, 0.0, 0
    for first in range(0, len(starts), CHUNK):
        own = starts[first : first + CHUNK]
        wrong = (values[own[:, None] + np.arange(horizon)] - repeated(filled, own, horizon, period)).astype(np.float64)
        there = wrong[~np.isnan(wrong)]
        absolute, square, count = absolute + np.abs(there).sum(), square + (there**2).sum(), count + len(there)
    return {"MAE": float(absolute / max(count, 1)), "MSE": float(square / max(count, 1))}
