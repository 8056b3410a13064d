"""The picture, against the linear network: gain(k) = r^k, and everything that follows from it."""

import math
from dataclasses import replace

import pytest
from tests.report.page.figures.stories import NONE_FOUND, bump, fading, judged, layer

from longreach.diagnosis.verdict import Diagnosis
from longreach.probes.reach import reach_of
from longreach.record import DeepNeed, Need
from longreach.report.page.figures.reach_and_need import WIDE, reach_and_need
from longreach.report.places import gravest_first
from longreach.story import Story


def drawing(*layers):
    return reach_and_need(Story("run", diagnosis=judged(*layers)))


def upright(figure):
    """The vertical lines: lag by role."""
    return {shape["name"]: shape["x0"] for shape in figure.layout["shapes"] if shape["x0"] == shape["x1"]}


def labels(figure):
    return [label["text"] for label in figure.layout["annotations"]]


def named(figure, name):
    (trace,) = [trace for trace in figure.traces if trace["name"] == name]
    return trace


def test_a_vanishing_network_looks_as_it_is():
    reach, need = fading(0.75), bump(130, 140)
    (figure,) = drawing(layer(reach=reach, need=need))
    assert upright(figure) == {"reach": reach_of(reach.lags, reach.log_gain), "need": 140} == {"reach": 16, "need": 140}
    assert figure.look == "Gain falls below 1% after 16 of 149 steps; the data ask for 140."
    gain = named(figure, "gain")
    assert gain["y"] == pytest.approx([0.75**k for k in gain["x"]])
    assert {"reach 16", "need 140", "reach ends at 1%", "detectable: 8%"} == set(labels(figure))
    assert figure.layout["yaxis"]["type"] == "log"
    assert "it crosses 1% after lag 16" in figure.said


def test_the_mark_of_the_reach_lies_on_the_curve_of_gain():
    (figure,) = drawing(layer(reach=fading(0.9)))
    (mark,) = [trace for trace in figure.traces if trace["name"] == "reach"]
    assert mark["x"] == [43]
    assert mark["y"] == pytest.approx([0.9**43])


def test_the_threshold_is_the_records_own():
    reach = fading(0.9, threshold=0.2)
    (figure,) = drawing(layer(reach=reach))
    (line,) = [shape for shape in figure.layout["shapes"] if shape["name"] == "quiet" and shape["y0"] == shape["y1"]]
    assert line["y0"] == 0.2
    assert upright(figure)["reach"] == math.floor(math.log(0.2) / math.log(0.9)) == 15
    assert "reach ends at 20%" in labels(figure)


def test_an_exploding_network_is_seen_up_to_where_it_goes():
    reach = fading(1.5, horizon=100)
    (figure,) = drawing(layer(reach=reach))
    low, high = figure.layout["yaxis"]["range"]
    assert low < math.log10(0.01) < 100 * math.log10(1.5) < high
    assert "it grows to 4.1e+17" in figure.look


def test_a_gain_that_no_float_can_hold_is_in_the_numbers():
    (figure,) = drawing(layer(reach=fading(1e-9, horizon=149)))
    assert figure.rows[-1][:2] == (149, pytest.approx(-9 * 149))
    assert min(y for y in named(figure, "gain")["y"] if y is not None) == 1e-300


def test_what_is_no_number_is_shown_as_such():
    lags = fading().lags
    gain = (0.0, math.nan, *(-math.inf,) * (len(lags) - 2))
    (figure,) = drawing(layer(reach=replace(fading(), log_gain=gain, log_signal=None)))
    assert named(figure, "NaN")["x"] == [lags[1]]
    assert named(figure, "0: nothing is left")["x"] == list(lags[2:])
    assert "NaN" in figure.look
    assert math.isnan(figure.rows[1][1])


def test_no_need_is_said_with_what_would_have_been_found():
    (figure,) = drawing(layer(reach=fading(), need=NONE_FOUND))
    assert "no need was found; one of 8% of the error would have been" in figure.look
    assert "need" not in upright(figure)


def test_a_need_that_was_not_tested_is_not_called_none():
    (figure,) = drawing(layer(reach=fading()))
    assert figure.look.endswith("whether the data ask for more was not tested.")
    assert "yaxis2" not in figure.layout


def test_a_need_of_too_few_sequences_leaves_no_panel_without_a_trace():
    few = Need(None, 1.0, 0.01, 1.0, 4, (), ())
    (figure,) = drawing(layer(reach=fading(), need=few))
    assert {trace["yaxis"] for trace in figure.traces if trace["x"]} == {"y", "y2"}
    assert figure.layout["xaxis"]["anchor"] == "y2"


def test_a_need_without_a_reach_has_the_panel_for_itself():
    (figure,) = drawing(layer(need=bump()))
    assert "yaxis2" not in figure.layout
    assert named(figure, "need")["yaxis"] == "y"
    assert figure.look.startswith("How far a gradient reaches could not be measured")


def test_the_need_of_two_inputs_has_both_its_lags():
    found = layer(reach=fading(), need=NONE_FOUND, deep=DeepNeed(bump(90, 100), 12, 1.0, 3.0))
    (figure,) = drawing(found)
    assert [text for text in labels(figure) if text[0] in "na"] == ["and 12", "need 100"]
    assert "the data ask for 100, read together with 12" in figure.look
    assert named(figure, "need of two inputs together")["line"]["dash"] != named(figure, "need")["line"]["dash"]


def test_where_gradients_are_cut_the_horizon_is_a_line_and_the_need_beyond_it_is_seen():
    (figure,) = drawing(layer(reach=fading(horizon=40), need=bump(130, 140)))
    assert figure.layout["xaxis"]["range"] == [0, 149]
    assert "horizon 40" in labels(figure)


@pytest.mark.parametrize(("lag", "last"), [(16, 17), (16, 40), (16, 140), (149, 149), (0, 0), (140, 149)])
def test_labels_do_not_lie_on_each_other_on_a_phone(lag, last):
    reach = replace(fading(), lag=lag)
    (figure,) = drawing(layer(reach=reach, need=bump(last, last)))
    above = [label for label in figure.layout["annotations"] if label["yref"] == "paper"]
    first, second = above
    assert abs(first["x"] - second["x"]) >= WIDE * 149 or abs(first["y"] - second["y"]) >= 0.049
    assert all(label["y"] < 1 for label in above)


def test_rows_are_the_measurements():
    reach, need = fading(), bump()
    (figure,) = drawing(layer(reach=reach, need=need))
    gain = {lag: value * math.log(10) for lag, value, *_ in figure.rows if value is not None}
    assert gain == pytest.approx(dict(zip(reach.lags, reach.log_gain, strict=True)))
    assert {row[0]: row[3] for row in figure.rows} == dict(zip(need.lags, need.strength, strict=True))


def test_a_need_over_many_lags_is_thinned_and_its_peak_stays():
    horizon = 100_000
    peak = replace(bump(horizon=horizon), strength=(0.0,) * 77_777 + (0.3,) + (0.0,) * (horizon - 77_777))
    (figure,) = drawing(layer(reach=fading(horizon=horizon), need=peak))
    assert len(named(figure, "need")["x"]) < 2_000
    assert max(named(figure, "need")["y"]) == 0.3
    assert len(figure.rows) < 20_000


def test_the_gravest_layer_comes_first_in_the_terminals_order_and_the_others_are_counted():
    sound = [layer(f"sound{n}", fading(0.999), bump(3, 5)) for n in range(14)]
    found = judged(*sound, layer("ill", fading(), bump()))
    figures = reach_and_need(Story("run", diagnosis=found))
    assert [figure.title for figure in figures] == [f"Reach and need: {p.name}" for p in gravest_first(found)[:12]]
    assert figures[0].title == "Reach and need: ill"
    assert figures[-1].look.endswith("3 more layers not drawn.")
    assert len({figure.name for figure in figures}) == 12


def test_one_step_long_sequences_are_not_drawn():
    reach = replace(fading(), lag=0, horizon=0, lags=(0,), log_gain=(0.0,), log_signal=None)
    assert drawing(layer(reach=reach)) == ()
    assert reach_and_need(Story("run", diagnosis=Diagnosis(judged().record, ()))) == ()
