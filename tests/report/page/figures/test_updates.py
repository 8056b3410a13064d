"""The size of steps, and the band of usual ones, which is that of the rule."""

import math
from dataclasses import replace

import pytest
from tests.report.page.figures.stories import judged

from longreach.diagnosis.step_size import LEAP, STILL
from longreach.history import History, Track
from longreach.report.page.figures.updates import MOST, lowest, updates
from longreach.story import Story

STEPS = tuple(range(0, 1000, 10))


def drawing(*tracks, diagnosis=None):
    (figure,) = updates(Story("run", diagnosis=diagnosis, history=History(updates=tracks)))
    return figure


def constant(value, name="fc.weight"):
    return Track(name, STEPS, (value,) * len(STEPS))


def test_a_ratio_is_drawn_as_it_is():
    figure = drawing(Track("fc.weight", (0, 1, 2), (0.1, 0.01, 0.001)))
    (line,) = figure.traces
    assert (line["x"], line["y"]) == ([0, 1, 2], pytest.approx([0.1, 0.01, 0.001]))
    assert figure.rows == [(0, "fc.weight", 0.1), (1, "fc.weight", 0.01), (2, "fc.weight", 0.001)]


def test_the_band_ends_where_the_rule_begins_to_speak():
    figure = drawing(constant(0.003), diagnosis=judged(steps=1000))
    (band,) = figure.layout["shapes"]
    assert (band["y0"], band["y1"]) == (lowest(1000), LEAP)
    low, high = figure.layout["yaxis"]["range"]
    assert low < math.log10(band["y0"]) < math.log10(band["y1"]) < high


@pytest.mark.parametrize("steps", [100, 1000, 10**6])
def test_below_the_band_no_run_comes_as_far_as_the_rule_asks_for(steps):
    """All steps in one direction, each of that size: together just what LR503 takes for standing still."""
    assert steps * lowest(steps) == pytest.approx(STILL)


def test_what_lies_in_the_band_is_counted():
    figure = drawing(constant(0.003), constant(0.5, "a"), constant(1e-9, "b"), diagnosis=judged(steps=1000))
    assert "1 of 3 lie within the band from 0.02% to 10%" in figure.look
    assert "by 1e-07% to 50% of their size" in figure.look


def test_a_matrix_that_is_not_moved_is_told_at_the_foot():
    figure = drawing(Track("fc.weight", (0, 1, 2, 3), (0.01, 0.0, math.nan, math.inf)))
    line, *told = figure.traces
    assert line["y"] == [pytest.approx(0.01), None, None, None]
    assert {trace["name"]: trace["x"] for trace in told} == {"0, not moved": [1], "NaN": [2], "infinity": [3]}


def test_of_many_matrices_those_that_stand_out_are_drawn_in_the_order_of_the_network():
    usual = [constant(0.004, f"usual{place}") for place in range(20)]
    odd = [constant(2.0, "thrown"), constant(1e-8, "still"), constant(math.nan, "nan")]
    figure = drawing(*usual[:10], odd[0], *usual[10:], *odd[1:], diagnosis=judged(steps=1000))
    lines = [trace["name"] for trace in figure.traces if trace["meta"]["role"] == "many"]
    assert len(lines) == MOST
    assert [name for name in lines if "usual" not in name] == ["thrown", "still", "nan"]
    assert figure.title.endswith("(8 of 23 matrices)")
    assert "of 23 lie within" in figure.look


def test_many_samples_are_thinned_and_the_leap_stays():
    steps = tuple(range(512))
    track = Track("fc.weight", steps, tuple(0.9 if step == 333 else 0.01 for step in steps))
    assert max(drawing(track).traces[0]["y"]) == pytest.approx(0.9)
    assert len(drawing(track).traces[0]["x"]) <= 100


def test_nothing_measured_is_nothing_drawn():
    assert updates(Story("run", history=replace(History(), updates=(Track("fc"),)))) == ()
