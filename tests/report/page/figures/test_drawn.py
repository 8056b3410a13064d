"""All figures together: never an error, never a NaN in JSON, never markup, never too much."""

import html
import json
import math
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.report.page.figures.stories import EMPTY, HOSTILE, course, fading, judged, layer, plain_story, torture

from longreach.diagnosis.verdict import Diagnosis
from longreach.history import History, Mark, ReachTrack, Track
from longreach.plain import plain
from longreach.probes.samples import LayerKey
from longreach.quantities.depth import Depth
from longreach.record import Layer, Record
from longreach.report.page.data import as_json, figure_data
from longreach.report.page.figures import drawn
from longreach.story import Story, Trained
from longreach.trial.proof import Arm, Outcome, Proof

ROLES = {"reach", "need", "signal", "quiet", "event", "broken", "main", "beside", "many", "given"}
TORTURE = drawn(torture())
PLAIN = drawn(plain_story())
SPOKEN = ("text", "name", "hovertemplate", "ticktext", "title")


def test_a_whole_run_has_every_figure():
    names = "reach-and-need reach-over-training proof proof-reach proof-losses loss-and-gradient depth updates units"
    assert [figure.name for figure in PLAIN] == names.split()


@pytest.mark.parametrize("story", EMPTY, ids=lambda story: story.name)
def test_nothing_known_is_nothing_drawn(story):
    assert drawn(story) == ()


@pytest.mark.parametrize("figure", [*PLAIN, *TORTURE], ids=lambda figure: figure.name)
def test_a_figure_keeps_its_contract(figure):
    assert re.fullmatch(r"[a-z0-9-]+", figure.name)
    assert figure.title
    assert figure.look.endswith(".")
    assert "\n" not in figure.look
    assert len(figure.said) >= len(figure.look)
    assert figure.layout["height"] > 200
    assert figure.rows
    assert all(len(row) == len(figure.columns) for row in figure.rows)
    roles = [trace["meta"]["role"] for trace in figure.traces]
    roles += [one["name"] for one in (*figure.layout.get("shapes", ()), *figure.layout.get("annotations", ()))]
    assert set(roles) <= ROLES
    json.dumps([figure.traces, figure.layout], allow_nan=False)
    json.dumps(plain(figure), allow_nan=False)


def test_what_is_not_to_be_pointed_at_has_no_template():
    """Plotly takes a template for a wish to be pointed at, whatever `hoverinfo` says."""
    traces = [trace for figure in PLAIN for trace in figure.traces if trace.get("hoverinfo") == "skip"]
    assert traces
    assert not any(trace.get("hovertemplate") for trace in traces)


def test_a_page_can_be_drawn_where_there_is_no_torch():
    code = "import sys, longreach.report.page.figures; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_names_are_unique():
    names = [figure.name for figure in TORTURE]
    assert len(set(names)) == len(names)


def test_no_two_curves_are_told_apart_by_colour_alone():
    for figure in PLAIN:
        seen = set()
        for trace in figure.traces:
            if trace.get("mode", "").startswith("lines") and trace["meta"]["role"] != "given":
                # of one arm the seeds look alike: one thing, named once
                key = (trace["yaxis"], trace["line"].get("dash", "solid"), trace["line"]["width"], trace.get("fill"))
                assert key not in seen or not trace.get("showlegend", True), (figure.name, trace["name"])
                seen.add(key)


def spoken(value, key=""):
    """Every text that plotly will draw."""
    if isinstance(value, dict):
        for name, entry in value.items():
            yield from spoken(entry, name if name in SPOKEN else key if name in ("text",) else "")
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from spoken(entry, key)
    elif isinstance(value, str) and key:
        yield value


OURS = re.compile(r"<extra></extra>|<sup>-?\d+</sup>")


def test_no_name_of_a_script_is_markup_in_a_drawing():
    texts = [text for figure in TORTURE for text in spoken([figure.traces, figure.layout])]
    hostile = [text for text in texts if any(html.escape(name[:12], quote=False) in text for name in HOSTILE[:4])]
    assert hostile  # they are in there, as letters
    assert all("<" not in OURS.sub("", text) for text in texts)
    assert all(text.count("$") < 2 for text in texts)


def test_what_a_script_says_is_put_into_no_template():
    """A hovertemplate is filled in by plotly: %{y} of a module's name must not be."""
    for figure in TORTURE:
        for trace in figure.traces:
            named = re.findall(r"%\{([^}:]*)", trace.get("hovertemplate", ""))
            assert set(named) <= {"x", "y", "z", "text"}, trace["hovertemplate"]
            assert "customdata" not in trace.get("hovertemplate", "")


def test_the_worst_of_folders_leaves_room_for_plotly_in_six_megabytes():
    assert sum(len(as_json(figure_data(figure)).encode()) for figure in TORTURE) < 950_000
    assert all(len(trace["x"]) <= 5_000 for figure in TORTURE for trace in figure.traces)


def test_a_hundred_thousand_steps_are_thinned_and_the_spike_is_there():
    story = replace(plain_story(), history=course(100_000))
    (figure,) = (figure for figure in drawn(story) if figure.name == "loss-and-gradient")
    assert max(figure.traces[0]["y"]) == 50.0
    assert len(figure.traces[0]["x"]) <= 2_000
    assert (40_000, "loss", 50.0) in figure.rows


ANY_NAME = st.text(max_size=12) | st.sampled_from(HOSTILE[:9])
STEPS = st.lists(st.integers(0, 10**7), max_size=8).map(sorted).map(tuple)


@st.composite
def records(draw):
    """What a JSON file may hold: also curves that are longer than their lags."""
    layers = draw(st.lists(st.builds(Layer, need_start=st.none(), denormals=st.none(), deep=...), max_size=3))
    depth = draw(st.lists(st.builds(Depth, axis=st.sampled_from(("layers", "hops"))), max_size=2))
    return Record({}, draw(st.integers(0, 10**7)), 1.0, 0.0, tuple(layers), None, None, depth=tuple(depth))


@st.composite
def tracks(draw):
    steps = draw(STEPS)
    return Track(draw(ANY_NAME), steps, tuple(draw(st.floats()) for _ in steps))


@st.composite
def reach_tracks(draw):
    steps = draw(STEPS)
    lags = (0, *sorted(draw(st.sets(st.integers(1, 10**6), max_size=5))))
    curves = tuple((0.0, *(draw(st.floats()) for _ in lags[1:])) for _ in steps)
    key = LayerKey("rnn", "RNN tanh", 0, "forward", 8)
    return ReachTrack(key, steps, (lags,) * len(steps), curves, tuple(draw(st.sampled_from(lags)) for _ in steps))


@st.composite
def histories(draw):
    some = st.lists(tracks(), max_size=3).map(tuple)
    marks = tuple(Mark(step, draw(ANY_NAME), draw(ANY_NAME)) for step in draw(STEPS))
    once = [draw(tracks()) for _ in range(4)]
    reach = tuple(draw(st.lists(reach_tracks(), max_size=2)))
    return History(*once, reach, draw(some), draw(some), draw(some), marks)


@st.composite
def arms(draw):
    """Losses are those of float32: of larger ones the interval itself overflows."""
    numbers = st.floats(width=32)
    runs = st.builds(
        Outcome,
        seed=st.integers(0, 4),
        loss=numbers,
        losses=st.lists(numbers, max_size=4).map(tuple),
        reach=st.none() | st.floats(),
    )
    outcomes = draw(st.lists(runs, max_size=4, unique_by=lambda run: run.seed))
    return Arm(draw(ANY_NAME), tuple(outcomes))


@st.composite
def proofs(draw):
    others = tuple(draw(st.lists(arms(), max_size=2)))
    return Proof(draw(arms()), draw(arms()), others, draw(ANY_NAME), draw(st.booleans()), draw(st.integers(0, 10**6)))


@given(st.none() | records().map(lambda record: Diagnosis(record, ())), histories(), st.lists(tracks(), max_size=3))
@settings(max_examples=100, deadline=None)
def test_whatever_a_run_left_is_drawn_without_an_error(diagnosis, history, validation):
    trained = Trained({}, None, tuple(validation)) if validation else None
    strict(drawn(Story("run", diagnosis=diagnosis, history=history, trained=trained)))


@given(proofs())
@settings(max_examples=60, deadline=None)
def test_whatever_a_trial_left_is_drawn_without_an_error(found):
    strict(drawn(Story("trial", proof=found)))


def strict(figures):
    """Every row as long as its heading; JSON without NaN; no tag of anybody's."""
    for figure in figures:
        json.dumps([figure.traces, figure.layout], allow_nan=False)
        json.dumps(plain(figure), allow_nan=False)
        assert all(len(row) == len(figure.columns) for row in figure.rows)
        assert all("<" not in OURS.sub("", text) for text in spoken([figure.traces, figure.layout]))


@pytest.mark.parametrize("loss", [(), (math.nan,), (math.nan,) * 50, (math.inf, 1.0), (0.5,)])
def test_degenerate_runs_are_drawn(loss):
    story = Story("one", diagnosis=judged(layer(reach=fading(horizon=1))), history=course(max(1, len(loss))))
    losses = replace(story.history.losses, steps=tuple(range(len(loss))), values=loss)
    for figure in drawn(replace(story, history=replace(story.history, losses=losses))):
        json.dumps(plain(figure), allow_nan=False)
