"""Losses, norms and events: what was measured is drawn, what happened is marked, what is no number is told."""

import math
from dataclasses import replace

import pytest
from tests.report.page.figures.stories import course, judged, layer, plain_story

from longreach.history import History, Mark, Track
from longreach.quantities.clipping import OWN, Clipping
from longreach.report.page.figures.loss_and_gradient import SYMBOLS, loss_and_gradient
from longreach.story import Story, Trained


def drawing(history, **others):
    (figure,) = loss_and_gradient(Story("run", history=history, **others))
    return figure


def named(figure, name):
    return [trace for trace in figure.traces if trace["name"] == name]


def test_losses_and_norms_are_those_of_the_run():
    history = course(300)
    figure = drawing(history)
    assert named(figure, "loss")[0]["y"] == list(history.losses.values)
    assert named(figure, "gradient")[0]["x"] == list(history.before.steps)
    assert [row[2] for row in figure.rows if row[1] == "loss"] == list(history.losses.values)
    assert figure.layout["yaxis"]["type"] == "log"


def test_a_loss_of_nan_is_a_gap_in_the_line_and_a_mark_below():
    figure = drawing(History(losses=Track("loss", (0, 1, 2, 3), (1.0, math.nan, math.inf, 2.0))))
    assert named(figure, "loss")[0]["y"] == [1.0, None, None, 2.0]
    assert (named(figure, "NaN")[0]["x"], named(figure, "infinity")[0]["x"]) == ([1], [2])
    assert "2 of 4 values are not finite" in figure.look
    assert math.isnan(figure.rows[1][2])


def test_a_gradient_that_is_used_as_it_came_is_drawn_once():
    same = replace(course(), after=course().before)
    assert not named(drawing(same), "gradient as used")
    assert named(drawing(course()), "gradient as used")


def test_that_nobody_looked_is_no_nan_of_the_gradient():
    unseen = replace(course(), after=replace(course().after, values=(math.nan,) * 1000))
    figure = drawing(unseen)
    assert not named(figure, "gradient as used")
    assert not named(figure, "NaN")


def test_the_limit_of_clipping_is_a_level_where_it_stays_and_a_curve_where_it_moves():
    figure = drawing(course())
    assert ([shape["y0"] for shape in figure.layout["shapes"]], not named(figure, "limit")) == ([1.0], True)
    moving = replace(course(), limit=Track("limit", (0, 500), (1.0, 2.0)))
    figure = drawing(moving)
    assert (named(figure, "limit")[0]["y"], figure.layout.get("shapes")) == ([1.0, 2.0], None)


def test_clipping_of_the_scripts_own_has_its_level_too():
    bare = replace(course(), limit=Track("limit"))
    own = judged(layer(), clipping=Clipping(OWN, 0.7, 100, 0.5, 2.0))
    figure = drawing(bare, diagnosis=own)
    assert [shape["y0"] for shape in figure.layout["shapes"]] == [0.7]
    assert "clipping at 0.7 binds in 50% of the steps" in figure.look


def test_every_event_is_marked_at_its_step_with_a_symbol_of_its_kind():
    (figure,) = loss_and_gradient(plain_story())
    marks = {name: named(figure, f"{name} (1)")[0] for name in SYMBOLS}
    assert {name: trace["x"] for name, trace in marks.items()} == {
        "spike": [400],
        "skipped": [410],
        "went back": [500],
        "NaN or infinity": [700],
    }
    assert len({trace["marker"]["symbol"] for trace in marks.values()}) == 4
    assert marks["went back"]["text"] == ["went back: to step 400"]
    low, high = figure.layout["yaxis"]["range"]
    assert all(low < math.log10(trace["y"][0]) < high for trace in marks.values())
    assert (500, "went back: to step 400", None) in figure.rows


def test_a_thousand_events_are_counted_and_thinned():
    figure = drawing(course(marks=tuple(Mark(step, "skipped", "") for step in range(1000))))
    (trace,) = named(figure, "skipped (1000)")
    assert len(trace["x"]) == 100
    assert (trace["x"][0], trace["x"][-1]) == (0, 999)
    assert "skipped: 1000" in figure.look


def test_a_validation_loss_lies_on_the_loss_and_other_scores_below_it():
    (figure,) = loss_and_gradient(plain_story())
    assert named(figure, "validation loss")[0]["yaxis"] == "y"
    assert named(figure, "wrong sequences")[0]["yaxis"] == "y2"
    assert named(figure, "gradient")[0]["yaxis"] == "y3"
    assert {"yaxis", "yaxis2", "yaxis3"} <= set(figure.layout)


def test_a_training_without_a_watch_has_its_scores():
    trained = Trained({}, None, (Track("accuracy", (1, 2), (0.5, 0.9)),))
    figure = drawing(History(), trained=trained)
    assert named(figure, "accuracy")[0]["y"] == [0.5, 0.9]


@pytest.mark.parametrize("value", [0.0, -3.0])
def test_what_a_logarithm_cannot_show_is_on_a_linear_axis(value):
    figure = drawing(History(losses=Track("loss", (0, 1), (1e6, value))))
    low, high = figure.layout["yaxis"]["range"]
    assert figure.layout["yaxis"]["type"] == "linear"
    assert low < value < 1e6 < high
