"""Gain over depth: a linear stack loses the same part in every layer."""

import math

import pytest
from tests.report.page.figures.stories import judged

from longreach.diagnosis.vanishing_in_depth import LEFT
from longreach.quantities.depth import Depth
from longreach.report.page.figures.depth import MOST_LAYERS, depth
from longreach.story import Story


def stack(rate=0.1, layers=6, start=0.5, axis="layers", module="fc"):
    names = tuple(f"fc{layers - place}" for place in range(layers))
    late, first = (tuple(place * math.log(each) for place in range(layers)) for each in (rate, start))
    return Depth(module, axis, names, late, first, math.log(rate), 5)


def drawing(*found):
    return depth(Story("run", diagnosis=judged(depth=found)))


def test_a_stack_of_equal_layers_is_a_straight_slope():
    (figure,) = drawing(stack())
    start, late = figure.traces
    assert late["y"] == pytest.approx([0.1**place for place in range(6)])
    assert start["y"] == pytest.approx([0.5**place for place in range(6)])
    assert late["text"] == ["fc6", "fc5", "fc4", "fc3", "fc2", "fc1"]
    assert figure.look == "Of a gradient at the top, 1.0e-5 is left 5 layers below; at the start 0.0312."
    assert figure.rows[-1] == (5, "fc1", pytest.approx(5 * math.log10(0.5)), pytest.approx(-5))


def test_the_line_of_the_rule_is_where_the_rule_draws_it():
    (figure,) = drawing(stack())
    assert [shape["y0"] for shape in figure.layout["shapes"]] == [math.exp(LEFT)] == [pytest.approx(1e-3)]
    (figure,) = drawing(stack(0.99, start=0.99))
    assert "shapes" not in figure.layout


def test_a_layer_that_lets_nothing_pass_is_told_at_the_foot():
    cut = Depth("fc", "layers", ("c", "b", "a"), (0.0, -1.0, -math.inf), (0.0, -1.0, math.nan), -math.inf, 3)
    (figure,) = drawing(cut)
    told = {trace["name"]: (trace["x"], trace["text"]) for trace in figure.traces[2:]}
    assert told == {"0: nothing is left": ([2], "late in the run"), "NaN": ([2], "at the start")}
    assert figure.look.startswith("Of a gradient at the top, 0 is left 2 layers below")


def test_a_tree_has_hops():
    (figure,) = drawing(stack(axis="hops"))
    assert figure.traces[1]["text"][2] == "hop 2"
    assert "5 hops below" in figure.look
    assert figure.layout["xaxis"]["title"]["text"] == "hops from the root"


def test_the_deepest_networks_come_first_and_very_deep_ones_are_thinned():
    figures = drawing(stack(layers=3), stack(0.999, 1000), stack(layers=4), stack(layers=5))
    assert [len(figure.rows) for figure in figures] == [MOST_LAYERS, 5, 4]
    assert (figures[0].rows[0][0], figures[0].rows[-1][0]) == (0, 999)
