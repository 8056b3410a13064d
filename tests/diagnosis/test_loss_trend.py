import math

import pytest

from longreach.diagnosis.loss_trend import fall, jump, solved
from longreach.record import LossCurve


def curve(*values):
    return LossCurve(tuple(range(len(values))), tuple(map(float, values)))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1, 0.5, 0.05), True),
        ((1, 0.5, 0.0501), False),
        ((0, 0, 0), True),
        ((1,), False),
        ((), False),
        ((-1, -2, -3), False),
        ((1, 0.5, math.nan), False),
        ((math.inf, 0.5, 0.01), False),
    ],
)
def test_solved_at_a_twentieth_of_the_start(values, expected):
    assert solved(curve(*values)) is expected


def test_the_transient_is_no_fall():
    assert fall(curve(100, *[1.0] * 9)) == 0


def test_fall_is_a_share_of_the_early_median():
    assert fall(curve(9, *[2.0] * 4, *[1.5] * 4)) == 0.25
    assert fall(curve(9, *[2.0] * 4, *[3.0] * 4)) == -0.5


@pytest.mark.parametrize(
    "values",
    [(), (1, 2, 3), [1.0] * 8, [-1.0] * 40, [0.0] * 40, [*[1.0] * 30, *[math.nan] * 10], [math.inf] * 40],
    ids=["none", "three points", "seven after the transient", "below zero", "zero", "ends in NaN", "infinite"],
)
def test_fall_says_where_it_cannot_judge(values):
    assert fall(curve(*values)) is None


def test_one_nan_among_many_does_not_blind():
    assert fall(curve(1, *[1.0] * 5, math.nan, *[1.0] * 30)) == 0


def test_no_curve_is_no_verdict():
    assert (solved(None), fall(None), jump(None)) == (False, None, None)


def test_jump_from_ten_times_the_early_loss():
    assert jump(curve(99, *[1.0] * 10, 10, *[1.0] * 10)) == 10
    assert jump(curve(99, *[1.0] * 10, 9.99, *[1.0] * 10)) is None
