"""What clipping has done, from counts and from norms on both sides of it."""

import math

import pytest

from longreach.quantities.clipping import NORM, OWN, VALUE, Clip, Clipping, pool
from longreach.quantities.gradients import GradientNorm, Shrunk, shrunk
from longreach.quantities.gradients import pool as pool_norms


def norms(pairs):
    return pool_norms([GradientNorm("", step, before, after) for step, (before, after) in enumerate(pairs)])


def test_counts_beyond_the_first_tenth():
    samples = [Clip(NORM, step, 0.5, calls, bound, cut) for step, calls, bound, cut in CUMULATIVE]
    found = pool({NORM: samples}, None, 1000)
    assert found is not None
    assert found == Clipping(NORM, 0.5, 900, 0.5, found.factor)
    assert found.factor == pytest.approx(math.e**2)


# beyond step 99: 900 calls, of which 450 bound, each by a factor of e²
CUMULATIVE = [(0, 1, 1, 50.0), (99, 101, 90, 500.0), (500, 501, 300, 920.0), (999, 1001, 540, 1400.0)]


def test_a_short_run_counts_everything():
    assert pool({NORM: [Clip(NORM, 3, 1.0, 4, 4, 0.0)]}, None, 4) == Clipping(NORM, 1.0, 4, 1.0, 1.0)


def test_clipping_of_the_scripts_own_leaves_one_norm():
    found = pool({}, norms([(float(k + 2), 1.0) for k in range(20)]), 20)
    assert found is not None
    assert (found.by, found.limit, found.bound) == (OWN, 1.0, 1.0)
    assert found.factor == 12.5  # the median of 4 to 21


def test_averaging_and_rounding_are_no_clipping():
    assert pool({}, norms([(float(k + 2), (k + 2) / 4) for k in range(20)]), 20) is None
    assert pool({}, norms([(1.0, 0.995)] * 20), 20) is None
    assert pool({}, norms([(1.0, math.nan)] * 20), 20) is None
    assert pool({}, None, 20) is None


def test_clipping_of_values_shows_in_the_norm():
    found = pool({VALUE: [Clip(VALUE, 19, 0.1, 20, 0, 0.0)]}, norms([(4.0, 1.0 + 0.1 * k) for k in range(20)]), 20)
    assert found is not None
    assert (found.by, found.limit, found.bound) == (VALUE, 0.1, 1.0)


def test_infinite_norms_are_kept_and_not_judged():
    found = norms([(math.inf, math.nan), (2.0, 1.0)])
    assert found is not None
    assert (found.steps, found.before, found.after[1]) == ((0, 1), (math.inf, 2.0), 1.0)
    assert shrunk(found, 10) == Shrunk(1.0, 2.0, 1.0, level=True)
