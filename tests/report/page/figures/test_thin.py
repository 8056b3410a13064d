"""Thinning, against a naive twin: what a screen shows of the whole, it shows of what is left."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from longreach.report.page.figures.thin import envelope, evenly

VALUES = st.lists(st.floats(-1e6, 1e6) | st.sampled_from((math.nan, math.inf, -math.inf)), min_size=1, max_size=300)


def columns(xs, values, count):
    """By column of pixels: its smallest and largest number, and what in it is no number."""
    width = max(1, xs[-1] - xs[0]) / count
    found = {}
    for x, value in zip(xs, values, strict=True):
        found.setdefault(min(count - 1, int((x - xs[0]) / width)), []).append(value)
    return {
        column: (
            min((v for v in here if math.isfinite(v)), default=None),
            max((v for v in here if math.isfinite(v)), default=None),
            {str(v) for v in here if not math.isfinite(v)},
        )
        for column, here in found.items()
    }


@given(VALUES, st.integers(1, 40), st.integers(1, 50))
@settings(max_examples=200, deadline=None)
def test_each_column_keeps_its_extremes_and_what_is_no_number(values, count, stride):
    xs = [7 + stride * place for place in range(len(values))]
    kept = envelope(xs, values, count)
    assert kept == sorted(set(kept))
    assert (kept[0], kept[-1]) == (0, len(xs) - 1)
    assert columns([xs[at] for at in kept], [values[at] for at in kept], count) == columns(xs, values, count)


def test_one_spike_among_a_million_steps_survives():
    values = [1.0] * 1_000_000
    values[567_891] = 1e6
    kept = envelope(range(1_000_000), values)
    assert 567_891 in kept
    assert len(kept) <= 2_000


def test_what_a_screen_can_show_is_left_alone():
    assert envelope(range(1800), [0.0] * 1800) == list(range(1800))


def test_steps_that_went_back_keep_their_extremes():
    """After a way back the same steps are taken again: steps may fall."""
    xs = [*range(3000), *range(2000, 4000)]
    values = [1.0] * 5000
    values[3500] = 9.0
    assert 3500 in envelope(xs, values)


@given(st.lists(st.integers(), max_size=60), st.integers(0, 70))
def test_evenly_keeps_the_order_and_the_last(items, most):
    kept = evenly(list(enumerate(items)), most)
    assert len(kept) == min(most, len(items))
    assert kept == sorted(kept)
    assert len(set(kept)) == len(kept)
    if kept:
        assert kept[-1] == (len(items) - 1, items[-1])
