"""The heat map, against linear networks whose gain is known at every step and lag."""

import math
from dataclasses import replace

import pytest
from tests.report.page.figures.stories import bump, fading, grown, judged, layer

from longreach.history import History
from longreach.probes.reach import reach_of
from longreach.report.page.figures.reach_over_training import COLUMNS, LAGS, grid, reach_over_training
from longreach.story import Story


def drawing(*tracks, diagnosis=None):
    return reach_over_training(Story("run", diagnosis=diagnosis, history=History(reach=tracks)))


def test_each_cell_is_the_gain_of_its_step_at_its_lag():
    track = grown(steps=(0, 10, 500), start=0.5, stop=0.9)
    (figure,) = drawing(track)
    heat = figure.traces[0]
    for column, (step, rate) in enumerate(zip((0, 10, 500), (0.5, 0.7, 0.9), strict=True)):
        assert heat["x"][column] == step
        for row, lag in enumerate(heat["y"]):
            assert heat["z"][row][column] == pytest.approx(lag * math.log10(rate), abs=0.006)


def test_the_line_is_the_reach_at_every_sampled_step():
    track = grown(start=0.5, stop=0.9)
    (figure,) = drawing(track)
    (line,) = [trace for trace in figure.traces if trace["name"] == "reach" and trace.get("showlegend", True)]
    assert line["x"] == list(track.steps)
    assert line["y"] == [reach_of(lags, gain) for lags, gain in zip(track.lags, track.log_gain, strict=True)]
    assert figure.look == "Reach goes from 6 at step 0 to 43 at step 900."


def test_between_its_own_lags_a_step_is_read_off_linearly_and_beyond_them_not_at_all():
    short = replace(grown(steps=(0, 1)), lags=((0, 10), (0, 4, 20)), log_gain=((0.0, -10.0), (0.0, -4.0, -20.0)))
    lags, steps, gain = grid(short)
    assert (lags, steps) == ([0, 4, 10, 20], [0, 1])
    assert [value * math.log(10) for value in gain[0][:3]] == pytest.approx([0, -4, -10])
    assert math.isnan(gain[0][3])
    assert [value * math.log(10) for value in gain[1]] == pytest.approx([0, -4, -10, -20])


def test_nothing_left_has_the_lowest_colour_and_nan_has_none():
    track = replace(
        grown(steps=(0, 1)), lags=((0, 1, 2),) * 2, log_gain=((0.0, -math.inf, -math.inf), (0.0, math.nan, 0.0))
    )
    (figure,) = drawing(track)
    heat = figure.traces[0]
    assert [row[0] for row in heat["z"]] == [0.0, -300.0, -300.0]
    assert heat["zmin"] == -4
    assert heat["z"][1][1] is None
    assert "1 of its 6 places have no number" in figure.said
    assert figure.rows[0][3] == -math.inf
    assert math.isnan(figure.rows[1][3])


def test_a_gain_that_grows_widens_the_colours():
    (figure,) = drawing(grown(start=0.9, stop=1.2))
    assert figure.traces[0]["zmax"] == pytest.approx(149 * math.log10(1.2), abs=1)
    (figure,) = drawing(grown(start=0.5, stop=0.9))
    assert (figure.traces[0]["zmin"], figure.traces[0]["zmax"]) == (-4, 0)


def test_the_need_is_a_line_over_it_where_it_is_known():
    (figure,) = drawing(grown(), diagnosis=judged(layer(reach=fading(), need=bump(130, 140))))
    (line,) = [trace for trace in figure.traces if trace["name"] == "need"]
    assert line["y"] == [140, 140]
    assert figure.look.endswith("the data ask for 140.")


def test_many_steps_and_lags_are_thinned_with_the_first_and_the_last():
    lags = tuple(range(0, 5000, 10))
    track = replace(grown(steps=range(512)), lags=(lags,) * 512, log_gain=(tuple(-k / 9 for k in lags),) * 512)
    (figure,) = drawing(track)
    heat = figure.traces[0]
    assert (len(heat["x"]), len(heat["y"])) == (COLUMNS, LAGS)
    assert (heat["x"][0], heat["x"][-1], heat["y"][0], heat["y"][-1]) == (0, 511, 0, 4990)
    assert len(figure.columns) == LAGS + 2


def test_a_reach_that_was_read_once_has_no_course():
    assert drawing(grown(steps=(7,))) == ()
    assert drawing() == ()


def test_a_step_that_was_taken_again_after_a_way_back_counts_as_it_was_last():
    track = grown(steps=(0, 5, 5), start=0.5, stop=0.9)
    _, steps, gain = grid(track)
    assert steps == [0, 5]
    assert gain[1][1] == pytest.approx(math.log10(0.9))
