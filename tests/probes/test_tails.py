"""Gain of a whole model: shares of sensitivity, against closed forms and a loop."""

import numpy as np
import pytest

from longreach.probes import tails


def naive(sizes, ends):
    """The definition, anchor by anchor and lag by lag."""
    rows = []
    for row, end in zip(sizes, ends, strict=True):
        a = row[: end + 1][::-1]
        last = max(lag for lag, value in enumerate(a) if value > 0)
        window = 0.1 * (last + 1)
        shares = [
            min(1.0, a[k:].sum() / a.sum() * max(1.0, window / max(last + 1 - k, 1))) if k else 1.0
            for k in range(len(a))
        ]
        rows.append(shares + [np.nan] * (sizes.shape[1] - len(a)))
    longest = max(ends) + 1
    return np.nanmean(np.array(rows)[:, :longest], axis=0)


@pytest.mark.parametrize("rate", [0.5, 0.9, 0.97])
def test_a_linear_recurrence_has_the_gain_of_its_state(rate):
    steps = np.arange(1000)
    (gain, last) = tails.gain(rate ** steps[::-1][None], np.array([999]))
    assert last == 999
    assert gain[:600] == pytest.approx(rate ** steps[:600], rel=1e-6)


def test_attention_spread_evenly_reaches_everything():
    gain, last = tails.gain(np.ones((3, 200)), np.array([199, 199, 199]))
    assert last == 199
    assert gain[:180] == pytest.approx(1 - np.arange(180) / 200)
    assert gain.min() >= 0.099  # also at the last lags, where hardly any lag is left to add


def test_a_receptive_field_ends_where_it_ends():
    sizes = np.zeros((1, 100))
    sizes[0, 60:] = 1.0
    gain, last = tails.gain(sizes, np.array([99]))
    assert last == 39
    assert gain[39] >= 0.01
    assert not gain[40:].any()


def test_attention_to_one_step_that_lies_elsewhere_in_each_row():
    sizes = np.zeros((50, 50))
    sizes[np.arange(50), np.arange(50)] = 1.0
    gain, _ = tails.gain(sizes, np.full(50, 49))
    assert gain == pytest.approx(1 - np.arange(50) / 50)


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_the_definition(seed):
    rng = np.random.default_rng(seed)
    ends = rng.integers(3, 30, size=6)
    sizes = rng.exponential(size=(6, 30)) * (rng.random((6, 30)) < 0.7)
    sizes[np.arange(6), ends] = 1.0
    gain, _ = tails.gain(sizes, ends)
    assert gain == pytest.approx(naive(sizes, ends))


def test_rows_to_which_nothing_came_are_left_out():
    sizes = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 2.0], [np.nan, 1.0, 1.0]])
    gain, last = tails.gain(sizes, np.array([2, 2, 2]))
    assert gain == pytest.approx([1.0, 0.5, 0.25])
    assert last == 2
    assert tails.gain(sizes[:1], np.array([2])) is None


def test_what_leaks_into_other_rows_is_no_influence():
    sizes = np.full((4, 5), 0.1)
    sizes[1, 3:] = 1.0
    own = tails.above_the_leak(sizes, np.array([1]), 1e-6)
    assert own.tolist() == [[0.0, 0.0, 0.0, 1.0, 1.0]]


def test_rounding_is_no_influence():
    own = tails.above_the_leak(np.array([[1e-7, 1e-5, 1.0]]), np.array([0]), 1e-6)
    assert own.tolist() == [[0.0, 1e-5, 1.0]]
