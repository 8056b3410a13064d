"""Pooling curves into reach, growth and denormals, against literals."""

import itertools
import math

import pytest

from longreach.probes.lags import lag_grid, split
from longreach.probes.reach import denormals, growth_of, pool, reach_of
from longreach.probes.samples import Curve

INF = math.inf


def curve(gain, *, lags=None, step=0, subnormal=None, flushed=False, signal=None):
    lags = tuple(range(len(gain))) if lags is None else lags
    return Curve(step, lags, tuple(gain), signal, subnormal, flushed)


def fading(rate, horizon):
    return curve([-rate * lag for lag in lag_grid(horizon)], lags=lag_grid(horizon))


@pytest.mark.parametrize(
    ("lags", "gain", "reach"),
    [
        ((0, 1, 2, 3), (0.0, -1.0, -2.0, -9.0), 2),
        ((0, 10, 20), (0.0, -4.0, -5.0), 16),  # ln 0.01 = -4.605 is met at 10 + 6.05
        ((0, 10, 20), (0.0, -4.0, -INF), 10),
        ((0, 1, 2), (0.0, -INF, -INF), 0),
        ((0, 1, 2), (0.0, 3.0, 9.0), 2),
        ((0, 1, 2, 3), (0.0, -9.0, -1.0, -9.0), 2),  # the largest lag that holds, whatever lies before it
        ((0, 1, 2), (0.0, -1.0, math.nan), 1),
        ((0,), (0.0,), 0),
        ((0, 1), (math.nan, math.nan), 0),
    ],
)
def test_reach_is_the_largest_lag_that_holds_the_threshold(lags, gain, reach):
    assert reach_of(lags, gain) == reach


def test_the_threshold_is_a_parameter():
    assert reach_of((0, 1, 2), (0.0, -1.0, -2.0), threshold=0.5) == 0
    assert pool([fading(0.1, 100)], threshold=0.1).lag == 23  # ln 10 / 0.1


@pytest.mark.parametrize(
    ("gain", "growth"),
    [((0.0, -1.0, -2.0), -1.0), ((0.0, 0.5, 1.0, -INF), 0.5), ((0.0, -INF, -INF), -INF), ((0.0,), math.nan)],
)
def test_growth_is_the_slope_of_the_finite_part(gain, growth):
    assert growth_of(range(len(gain)), gain) == pytest.approx(growth, nan_ok=True)


def test_pooled_curves_are_medians_on_the_grid_of_the_longest():
    found = pool([fading(0.1, 40), fading(0.2, 400), fading(0.6, 40)])
    assert (found.horizon, found.samples, found.lags) == (400, 3, lag_grid(400))
    by_lag = dict(zip(found.lags, found.log_gain, strict=True))
    assert by_lag[16] == pytest.approx(-3.2)
    assert by_lag[400] == pytest.approx(-80.0)  # only one was that long
    assert found.lag == 23
    assert pool([]) is None


def test_nothing_is_made_up_between_a_number_and_nothing_at_all():
    found = pool([curve((0.0, -1.0, -INF), lags=(0, 10, 20))])
    assert dict(zip(found.lags, found.log_gain, strict=True))[10] == -1.0
    assert all(value == -INF for lag, value in zip(found.lags, found.log_gain, strict=True) if lag > 10)
    assert found.lag == 10


def test_denormals_are_where_half_of_the_entries_are():
    shares = (0.0, 0.2, 0.5, 1.0, 0.6, 0.4)
    found = denormals([curve([0.0] * 6, subnormal=shares)])
    assert (found.first_lag, found.last_lag, found.share, found.flushed) == (2, 4, 0.5, False)
    assert denormals([curve([0.0] * 6, subnormal=(0.0,) * 6)]) is None
    assert denormals([curve([0.0] * 6)]) is None


@pytest.mark.parametrize("horizon", [0, 1, 15, 16, 17, 100, 1000, 12345])
def test_the_grid_is_fine_near_zero_sparse_far_off_and_ends_at_the_horizon(horizon):
    grid = lag_grid(horizon)
    assert grid[: min(horizon, 16) + 1] == tuple(range(min(horizon, 16) + 1))
    assert grid[-1] == horizon
    assert list(grid) == sorted(set(grid))
    assert len(grid) <= 18 + 8 * math.log2(max(horizon, 16) / 16)
    borders = split(grid, 16)
    assert set(grid) <= set(borders)
    assert all(0 < far - near <= 16 for near, far in itertools.pairwise(borders))
