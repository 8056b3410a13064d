"""Sliding windows count once; sequences that only look alike in places all count."""

import numpy as np
import pytest

from longreach.probes.need import shortcut_test
from longreach.probes.overlaps import without_overlaps
from longreach.probes.samples import Pairs


def sample(inputs, errors=None, *, step=0, tokens=False):
    count, steps = inputs.shape[:2]
    errors = np.ones((count, steps, 1)) if errors is None else errors
    return Pairs(step, inputs, errors.astype(np.float32), np.full(count, steps), tokens)


def windows(series, starts, length):
    return np.stack([series[start : start + length] for start in starts]).astype(np.float32)


def kept(pairs):
    return [len(found.lengths) for found in without_overlaps(pairs)]


def test_of_windows_that_share_more_than_a_tenth_one_is_kept_the_latest():
    series = np.random.default_rng(0).standard_normal((1000, 2))
    early, late = windows(series, [0, 300, 600], 100), windows(series, [50, 395, 800], 100)
    assert kept([sample(early, step=1), sample(late, step=2)]) == [2, 3]  # 0 and 50 share half, 300 and 395 a twentieth
    (first, _) = without_overlaps([sample(early, step=1), sample(late, step=2)])
    np.testing.assert_array_equal(first.inputs, early[1:])


def test_a_dense_set_of_windows_is_thinned_to_what_the_series_holds():
    series = np.random.default_rng(0).standard_normal((1200, 1))
    starts = np.random.default_rng(1).integers(1100, size=400)
    (count,) = kept([sample(windows(series, starts, 100))])
    assert 6 <= count <= 12  # 12 would fit without a gap


def test_windows_of_a_text_are_thinned_too():
    text = np.random.default_rng(0).integers(5, size=(3000, 1))
    starts = np.random.default_rng(1).integers(2900, size=300)
    (count,) = kept([sample(windows(text, starts, 100).astype(np.int64), tokens=True)])
    assert 18 <= count <= 33


@pytest.mark.parametrize("kind", ["noise", "one-hot", "coin", "dna", "copying", "tokens", "short", "constant"])
def test_sequences_of_their_own_are_all_kept(kind):
    rng = np.random.default_rng(0)
    inputs = {
        "noise": rng.standard_normal((50, 60, 2)),
        "one-hot": np.eye(6)[rng.integers(6, size=(50, 60))],
        "coin": rng.integers(2, size=(50, 60, 1)).astype(float),
        "dna": np.eye(4)[rng.integers(4, size=(50, 200))],
        "copying": np.concatenate([np.eye(9)[rng.integers(8, size=(50, 10))], np.tile(np.eye(9)[8], (50, 90, 1))], 1),
        "tokens": rng.integers(40, size=(50, 60, 1)),
        "short": rng.integers(2, size=(50, 5, 1)),
        "constant": np.ones((50, 60, 3)),
    }[kind]
    inputs = inputs if kind in ("tokens", "short") else inputs.astype(np.float32)
    assert kept([sample(inputs, tokens=kind in ("tokens", "short"))]) == [50]


def test_overlapping_windows_of_slow_series_give_no_false_need():
    """512 windows out of one AR(1) series, errors that follow the end of the window as those of a forecast do."""
    false = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        series, outcome = (slow(rng, 6000) for _ in range(2))
        starts = rng.integers(6000 - 60, size=512)
        errors = np.zeros((512, 60, 1))
        errors[:, -1, 0] = outcome[starts + 59]
        found = shortcut_test([sample(windows(series[:, None], starts, 60), errors)], draws=99)
        false += found is not None and found.lag is not None
    assert false <= 3  # of 60 at level 1 %: more in 0.3 % of such tests


def slow(rng, steps):
    values = np.zeros(steps)
    for step, noise in enumerate(rng.standard_normal(steps)):
        values[step] = 0.9 * values[step - 1] + noise
    return values
