"""How much of what there was to learn is left."""

from dataclasses import replace

import pytest
from tests.diagnosis.literals import CHANCE, LEARNT, record

from longreach.diagnosis.learning import left, struggles, stuck
from longreach.record import LossCurve


def run(level, chance, first=1.0):
    return replace(record(loss=LossCurve(tuple(range(40)), (first,) * 4 + (level,) * 36)), chance=chance)


@pytest.mark.parametrize(
    ("level", "is_stuck", "does_struggle"),
    [(1.9, True, True), (1.81, True, True), (1.79, False, True), (1.01, False, True), (0.99, False, False)],
)
def test_beside_chance(level, is_stuck, does_struggle):
    found = run(level, chance=2.0)
    assert left(found) == pytest.approx(level / 2)
    assert (stuck(found), struggles(found)) == (is_stuck, does_struggle)


def test_a_plateau_of_what_was_learnt_at_once_is_no_failure():
    assert not stuck(run(0.5, chance=2.3, first=0.52))


def test_a_huge_start_does_not_make_chance_look_learned():
    assert stuck(run(1.1, chance=1.1, first=400.0))


def test_without_chance_the_fall_decides():
    assert stuck(record(loss=CHANCE))
    assert not stuck(record(loss=LEARNT))
    assert struggles(record(loss=CHANCE))


@pytest.mark.parametrize("loss", [None, LossCurve((0,), (1.0,)), LossCurve(tuple(range(40)), (-1.0,) * 40)])
def test_what_cannot_be_judged_is_no_failure(loss):
    assert not stuck(record(loss=loss))
    assert not struggles(record(loss=loss))


def test_nan_is_infinitely_much():
    assert left(run(float("nan"), chance=1.0)) == float("inf")
