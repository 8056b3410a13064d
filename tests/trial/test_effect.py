"""Intervals of paired differences: against theory, and how often they err where there is nothing to find."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import t as student

from longreach.trial.effect import bootstrap, effect, luck

CONTROL = [0.170, 0.165, 0.166, 0.169, 0.167]
ARM = [0.004, 0.006, 0.003, 0.008, 0.002]


def test_the_estimate_is_the_mean_paired_difference():
    found = effect(CONTROL, ARM, level=0.01)
    assert found.estimate == pytest.approx(np.mean(CONTROL) - np.mean(ARM), rel=1e-12)
    assert (found.seeds, found.better, found.level) == (5, 5, 0.01)


def test_the_interval_holds_students():
    found = effect(CONTROL, ARM, level=0.01)
    low, high = student.interval(
        0.99, 4, loc=found.estimate, scale=np.std(np.subtract(CONTROL, ARM), ddof=1) / math.sqrt(5)
    )
    assert found.low <= low + 1e-12
    assert found.high >= high - 1e-12


def test_the_interval_holds_the_bootstraps_where_that_is_wider():
    """Ten differences, one of them far off: upwards, the resampled means have a longer tail than Student's."""
    control = [1.0] * 9 + [1000.0]
    found = effect(control, [0.0] * 10, level=1e-6)
    low, high = bootstrap(np.array(control), 1e-6)
    assert found.low <= low
    assert found.high >= high


def test_the_bootstrap_is_the_exact_one_of_all_resamples():
    difference = np.array([0.0, 1.0, 5.0])
    means = [np.mean(sample) for sample in itertools.product(difference, repeat=3)]
    assert bootstrap(difference, 0.1) == pytest.approx(tuple(np.quantile(means, [0.05, 0.95])))


def test_larger_is_better_turns_the_sign():
    loss = effect(CONTROL, ARM, level=0.01)
    score = effect(CONTROL, ARM, level=0.01, higher_is_better=True)
    assert (score.estimate, score.better) == (-loss.estimate, 0)
    assert (score.low, score.high) == pytest.approx((-loss.high, -loss.low))


@pytest.mark.parametrize("seeds", [0, 1])
def test_below_two_seeds_nothing_is_known(seeds):
    found = effect(CONTROL[:seeds], ARM[:seeds], level=0.01)
    assert (found.low, found.high, found.seeds) == (-math.inf, math.inf, seeds)


def test_equal_ends_are_no_effect():
    found = effect([1.0] * 4, [1.0] * 4, level=0.01)
    assert (found.estimate, found.low, found.high, found.better) == (0.0, 0.0, 0.0, 0)


def test_luck_is_the_largest_chance_of_a_clean_sweep():
    p = np.linspace(0, 1, 100001)
    assert luck(1, 1) == pytest.approx((p * (1 - p)).max(), rel=1e-8)
    assert luck(3, 2) == pytest.approx(((p * (1 - p) ** 2) ** 3).max(), rel=1e-8)
    assert luck(0, 2) == 1


def null(kind, rng, shape):
    if kind == "normal":
        return rng.standard_normal(shape)
    if kind == "heavy":
        return rng.standard_t(2, shape)
    return rng.lognormal(0, 1, shape)


@pytest.mark.parametrize("seeds", [3, 5, 8])
@pytest.mark.parametrize("kind", ["normal", "heavy", "skewed"])
def test_where_nothing_helps_the_interval_excludes_nothing_more_often_than_it_may(kind, seeds):
    rng, runs, level = np.random.default_rng(seeds), 400, 0.02
    ends = [(null(kind, rng, seeds), null(kind, rng, seeds)) for _ in range(runs)]
    found = [effect(control, arm, level=level) for control, arm in ends]
    wrong = sum(one.low > 0 or one.high < 0 for one in found)
    # Binomial with 400 tries at 2 %: 8 are due, more than 22 in one case of 100 000
    assert wrong <= 22


def test_the_percentile_bootstrap_alone_would_err_far_too_often():
    """With three seeds its interval excludes 0 whenever all three differences have one sign: 2 · 2⁻³."""
    rng = np.random.default_rng(0)
    ends = [bootstrap(rng.standard_normal(3), 0.01) for _ in range(400)]
    wrong = sum(low > 0 or high < 0 for low, high in ends)
    assert abs(wrong / 400 - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 400)
