"""The scalars of a run, from records written down here: names, NaN and infinities."""

import json
import math

import pytest

from longreach.diagnosis import Diagnosis
from longreach.history import History, Mark, ReachTrack, Track
from longreach.integrations.scalars import Run
from longreach.probes.samples import LayerKey
from longreach.record import Layer, Need, Reach, Record

NAN, INF = math.nan, math.inf


def layer(module, *, index=0, direction="forward", reach=7, need=40):
    reached = Reach(reach, 0.01, 49, -0.5, (0, 1), (0.0, -0.5), None, 1)
    needed = Need(need, 0.005, 0.01, 0.1, 512, (0, 1), (0.0, 0.0))
    return Layer(module, "LSTM", index, direction, 8, reached, needed)


def track(module, *, index=0, direction="forward", values=(3, 5)):
    key = LayerKey(module, "LSTM", index, direction, 8)
    return ReachTrack(key, (0, 10), ((0, 1, 2),) * 2, ((0.0, -1.0, -2.0), (0.0, -INF, -INF)), values)


def run(layers=(), **course):
    record = Record(run={}, steps=20, seconds=1.0, overhead=0.02, layers=tuple(layers), loss=None, nonfinite=None)
    return Run(Diagnosis(record, ()), History(**course))


def courses(of):
    return {track.name.removeprefix("longreach/"): track for track in of.courses()}


def test_layers_go_by_names_that_tell_them_apart():
    stack = [("a", 0, "forward"), ("a", 1, "forward"), ("b", 0, "forward"), ("b", 0, "reverse"), ("", 0, "forward")]
    places = [{"module": module, "index": index, "direction": direction} for module, index, direction in stack]
    made = run([layer(**place) for place in places], reach=tuple(track(**place) for place in places))
    names = ["a.0", "a.1", "b", "b.reverse", "model"]
    assert [name for name in made.totals() if "/reach/" in name] == [f"longreach/reach/{name}" for name in names]
    assert [name for name in courses(made) if name.startswith("growth/")] == [f"growth/{name}" for name in names]


def test_totals_are_where_it_ended():
    nothing = layer("b", need=None)
    made = run([layer("a"), nothing], before=Track("gradient", (0, 5), (2.0, 0.5)))
    assert made.totals() == {
        "longreach/reach/a": 7,
        "longreach/growth/a": -0.5,
        "longreach/need/a": 40,
        "longreach/reach/b": 7,
        "longreach/growth/b": -0.5,
        "longreach/need/b": 0,
        "longreach/gradient_norm": 0.5,
        "longreach/overhead": 0.02,
        "longreach/non_finite": 0,
    }


def test_growth_is_the_slope_at_every_sampled_step():
    assert courses(run([layer("a")], reach=(track("a"),)))["growth/a"].values == (pytest.approx(-1.0), -INF)


def test_of_a_whole_model_that_is_left_out_of_the_verdict_nothing_is_told():
    made = run([layer("rnn")], reach=(track("rnn"), track("model")))
    assert set(courses(made)) == {"reach/rnn", "growth/rnn", "non_finite"}


def test_nan_and_infinities_are_kept_and_counted():
    made = run(
        losses=Track("loss", (0, 1, 2, 3), (1.0, NAN, NAN, INF)),
        before=Track("gradient", (0, 2), (1.0, -INF)),
        marks=(Mark(1, "spike", "the loss rose"), Mark(1, "NaN or infinity", "the first nan")),
    )
    assert str(courses(made)["loss"].values) == "(1.0, nan, nan, inf)"
    count = courses(made)["non_finite"]
    assert dict(zip(count.steps, count.values, strict=True)) == {0: 0, 1: 2, 2: 4, 3: 5}
    assert made.totals()["longreach/non_finite"] == 5
    assert "step 1: NaN or infinity: the first nan" in made.words()


def test_what_was_not_looked_at_and_what_has_no_limit_is_not_counted():
    made = run(
        before=Track("gradient", (0, 1), (1.0, 2.0)),
        after=Track("as used", (0, 1), (1.0, NAN)),
        limit=Track("limit", (0, 1), (INF, INF)),
    )
    assert courses(made)["gradient_norm_used"] == Track("longreach/gradient_norm_used", (0,), (1.0,))
    assert "clip_limit" not in courses(made)
    assert courses(made)["non_finite"].values == (0, 0)


def test_rows_put_together_what_belongs_to_a_step():
    made = run(losses=Track("loss", (0, 1), (2.0, 1.0)), before=Track("gradient", (1,), (3.0,)))
    assert list(made.rows()) == [
        (0, {"longreach/loss": 2.0, "longreach/non_finite": 0}),
        (1, {"longreach/gradient_norm": 3.0, "longreach/loss": 1.0, "longreach/non_finite": 0}),
    ]


def test_an_empty_run_has_its_verdict_and_nothing_to_count():
    assert courses(run())["non_finite"].values == (0,)
    assert run().words() == "verdict: healthy"
    json.dumps(run().totals(), allow_nan=False)
