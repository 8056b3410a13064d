"""What the axes can show, and where what they cannot show is told of."""

import itertools
import json
import math

from hypothesis import given
from hypothesis import strategies as st

from longreach.report.page.figures.axes import curve, level, lost, many, once, panels, power, scaled

NUMBERS = st.lists(st.floats(), max_size=20)


def positioned(axis, value):
    """Where a value lies on an axis, in the units of its range."""
    return math.log10(value) if axis["type"] == "log" else value


@given(NUMBERS, st.booleans())
def test_every_finite_value_lies_on_the_axis(values, zero):
    axis = {}
    ends = scaled(axis, values, zero=zero)
    low, high = axis["range"]
    assert low < high
    assert all(map(math.isfinite, (*axis["range"], *ends)))
    shown = [value for value in values if abs(value) <= 1e300 and (value == 0 or abs(value) >= 1e-300)]
    assert all(low <= positioned(axis, value) <= high for value in shown)
    if zero:
        assert low <= 0 <= high
    json.dumps(axis, allow_nan=False)


def test_values_over_decades_are_on_a_logarithmic_axis_unless_one_is_not_positive():
    axis = {}
    scaled(axis, (1e-6, 1.0))
    assert axis["type"] == "log"
    scaled(axis, (1e-6, 1.0, 0.0))
    assert axis["type"] == "linear"
    scaled(axis, (0.5, 1.0))
    assert axis["type"] == "linear"


@given(NUMBERS)
def test_each_value_is_a_point_of_the_line_or_a_mark_at_an_edge(values):
    xs = list(range(len(values)))
    line = curve("loss", "main", xs, values)
    marks = lost("loss", xs, values, (0.5, 9.0))
    on_the_line = [x for x, y in zip(line["x"], line["y"], strict=True) if y is not None]
    at_an_edge = [x for trace in marks for x in trace["x"]]
    assert sorted(on_the_line + at_an_edge) == xs
    assert [line["y"][x] for x in on_the_line] == [values[x] for x in on_the_line]
    for trace in marks:
        told = {"NaN": math.isnan, "infinity": lambda v: v == math.inf, "-infinity": lambda v: v == -math.inf}
        assert all(told[trace["name"]](values[x]) for x in trace["x"])
        assert set(trace["y"]) == {9.0 if trace["name"] == "infinity" else 0.5}
    json.dumps([line, *marks], allow_nan=False)


def test_the_marks_of_nan_and_infinities_differ_in_more_than_colour():
    marks = lost("gain", (1, 2, 3), (math.nan, math.inf, -math.inf), (0, 1), nothing="0: nothing is left")
    assert len({trace["marker"]["symbol"] for trace in marks}) == 3
    assert [trace["name"] for trace in marks] == ["NaN", "0: nothing is left", "infinity"]
    assert (marks[0]["text"], marks[0]["hovertemplate"]) == ("gain", "%{text}: NaN<extra></extra>")


def test_powers_go_as_far_as_a_float_and_stop_there():
    assert power(0.0) == 1.0
    assert power(math.log(0.01)) == 10.0 ** (math.log(0.01) / math.log(10))
    assert power(-1e6) == 1e-300
    assert power(1e6) == 1e300
    assert all(math.isnan(power(value)) for value in (math.nan, math.inf, -math.inf))


def test_panels_lie_above_each_other_and_do_not_touch():
    layout = panels("step", 2.0, 1.0, 1.0, top=0.9, gap=0.06)
    domains = [layout[name]["domain"] for name in ("yaxis", "yaxis2", "yaxis3")]
    assert domains[0][1] == 0.9
    assert abs(domains[2][0]) < 1e-9
    assert all(abs(upper[0] - lower[1] - 0.06) < 1e-9 for upper, lower in itertools.pairwise(domains))
    assert abs((domains[0][1] - domains[0][0]) - 2 * (domains[1][1] - domains[1][0])) < 1e-9
    assert layout["xaxis"]["anchor"] == "y3"


def test_a_level_and_its_label_are_at_the_same_height():
    """Plotly takes the height of a shape as a value, that of an annotation as its power of ten."""
    layout = {"yaxis": {"type": "log"}, "yaxis2": {"type": "linear"}}
    level(layout, "one in a hundred", 0.01)
    level(layout, "half", 0.5, "y2")
    assert [(shape["y0"], shape["y1"]) for shape in layout["shapes"]] == [(0.01, 0.01), (0.5, 0.5)]
    assert [label["y"] for label in layout["annotations"]] == [-2, 0.5]


def test_the_legend_names_each_thing_once():
    first, again, other = once([{"name": "NaN", "x": [1]}, {"name": "NaN", "x": [2]}, {"name": "loss", "x": [3]}])
    assert [trace.get("showlegend", True) for trace in (first, again, other)] == [True, False, True]
    assert first["legendgroup"] == again["legendgroup"] != other["legendgroup"]
    assert [trace["x"] for trace in (first, again, other)] == [[1], [2], [3]]


def test_neighbours_of_equal_rank_differ_in_their_dash():
    assert all(many(place)["line"]["dash"] != many(place + 1)["line"]["dash"] for place in range(20))
