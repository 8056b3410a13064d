"""Dead and saturated units: shares as they are, the worst first."""

import math

from longreach.history import History, Track
from longreach.report.page.figures.units import MOST, units
from longreach.story import Story


def drawing(dead=(), saturated=()):
    (figure,) = units(Story("run", history=History(dead=tuple(dead), saturated=tuple(saturated))))
    return figure


def test_shares_are_drawn_in_two_panels_and_the_legend_names_each_activation_once():
    dead, saturated = Track("fc ReLU", (0, 9), (0.25, 0.5)), Track("fc ReLU", (0, 9), (0.0, 0.125))
    figure = drawing([dead], [saturated])
    upper, lower = figure.traces
    assert (upper["y"], upper["yaxis"], lower["y"], lower["yaxis"]) == ([0.25, 0.5], "y", [0.0, 0.125], "y2")
    assert (upper.get("showlegend", True), lower["showlegend"]) == (True, False)
    assert upper["line"] == lower["line"]
    assert figure.rows == [
        (0, "fc ReLU", "dead", 0.25),
        (9, "fc ReLU", "dead", 0.5),
        (0, "fc ReLU", "saturated", 0.0),
        (9, "fc ReLU", "saturated", 0.125),
    ]
    assert "at most 50% are dead (in fc ReLU) and at most 12% are saturated (in fc ReLU)" in figure.look


def test_none_dead_is_said():
    figure = drawing([Track("fc", (0,), (0.0,))])
    assert figure.look == "Of the units of an activation, at the end of the run none is dead."
    assert figure.traces[0]["mode"] == "markers"


def test_of_many_activations_those_that_were_worst_at_some_time_are_drawn():
    quiet = [Track(f"fc{place}", (0, 1), (0.0, 0.0)) for place in range(20)]
    figure = drawing([*quiet, Track("dying", (0, 1), (0.9, 0.1))], [Track("flat", (0, 1), (0.0, 0.8))])
    names = [trace["name"] for trace in figure.traces]
    assert {"dying", "flat"} <= set(names)
    assert len(set(names)) == MOST
    assert figure.title.endswith("(8 of 22 activations)")


def test_a_share_that_is_no_number_is_told():
    figure = drawing([Track("fc", (0, 1), (math.nan, 0.5))])
    (mark,) = [trace for trace in figure.traces if trace["name"] == "NaN"]
    assert mark["x"] == [0]


def test_nothing_seen_is_nothing_drawn():
    assert units(Story("run")) == ()
