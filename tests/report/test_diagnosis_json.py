import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longreach.diagnosis import diagnose
from longreach.errors import RunReadError
from longreach.record import Layer, LossCurve, Need, Reach, Record
from longreach.report.json import load, render

ANY_LAYER = st.builds(Layer, need_start=..., denormals=..., blind=..., deep=..., memory=...)
ANY_RECORD = st.builds(
    Record,
    run=st.dictionaries(st.text(), st.text() | st.floats() | st.integers()),
    layers=st.lists(ANY_LAYER, max_size=12).map(tuple),
    notes=...,
)
REACH = Reach(11, 0.01, 149, -0.4, (0, 5, 149), (0.0, -2.0, -math.inf), (0.0, 1.0, 800.0), 6)
NEED = Need(140, 0.0004, 0.01, 0.08, 384, (0, 140), (0.0, 0.34))
LAYER = Layer("rnn", "RNN tanh", 0, "forward", 64, REACH, NEED)
RECORD = Record(
    {"script": "train.py"}, 600, 84.2, 0.013, (LAYER,), LossCurve((0, 1), (1.0, math.inf)), None, ("a note",)
)


def strict(text):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_what_programs_find():
    content = strict(render(diagnose(RECORD)))
    assert content["schema"] == "longreach.diagnosis/1"
    assert content["verdict"] == "vanishing-in-time"
    assert content["layers"] == [
        {
            "module": "rnn",
            "kind": "RNN tanh",
            "index": 0,
            "direction": "forward",
            "hidden": 64,
            "reach": {
                "lag": 11,
                "threshold": 0.01,
                "horizon": 149,
                "growth": -0.4,
                "samples": 6,
                "curve": {
                    "lag": [0, 5, 149],
                    "gain": [1.0, math.exp(-2.0), 0.0],
                    "log_gain": [0.0, -2.0, "-inf"],
                    "signal": [1.0, math.e, "inf"],
                    "log_signal": [0.0, 1.0, 800.0],
                },
            },
            "need": {
                "lag": 140,
                "p_value": 0.0004,
                "level": 0.01,
                "detectable": 0.08,
                "sequences": 384,
                "curve": {"lag": [0, 140], "strength": [0.0, 0.34]},
            },
            "deep": None,
            "memory": None,
            "blind": None,
        }
    ]
    assert [finding["code"] for finding in content["findings"]] == ["LR101", "LR401"]
    assert content["findings"][0]["evidence"]["need"] == 140
    assert content["undecided"] is False
    assert (content["overhead"], content["steps"], content["seconds"]) == (0.013, 600, 84.2)
    assert content["loss"] == {"steps": [0, 1], "values": [1.0, "inf"]}
    assert (content["notes"], content["run"]) == (["a note"], {"script": "train.py"})
    assert Record.from_json(json.dumps(content["record"])) == RECORD


def test_comes_back_equal():
    diagnosis = diagnose(RECORD)
    assert load(render(diagnosis)) == diagnosis


@given(ANY_RECORD)
@settings(deadline=None, max_examples=40)
def test_any_record_comes_back(anything):
    text = render(diagnose(anything))
    strict(text)
    assert render(load(text)) == text  # as text: NaN does not equal itself


def changed(**parts):
    return json.dumps(json.loads(render(diagnose(RECORD))) | parts)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cut off or not JSON"),
        (render(diagnose(RECORD))[:-40], "cut off or not JSON"),
        ("[" * 100_000, "cut off or not JSON"),
        ("[]", "something else"),
        ("{}", "no schema at all"),
        (changed(schema="longreach.diagnosis/2"), "longreach.diagnosis/2"),
        (changed(record=None), "lacks or garbles"),
        (changed(record={}), "lacks or garbles"),
        (changed(findings=[{"code": "LR101"}]), "lacks or garbles"),
        (changed(findings=[json.loads(changed())["findings"][0] | {"severity": "mild"}]), "lacks or garbles"),
        (changed(findings=[json.loads(changed())["findings"][0] | {"summary": 3}]), "wrong type"),
        (changed(record=json.loads(RECORD.to_json()) | {"steps": "many"}), "wrong type"),
        (changed(record=json.loads(RECORD.to_json()) | {"seconds": 10**400}), "lacks or garbles"),
        (changed(record=json.loads(RECORD.to_json()) | {"schema": "longreach.record/9"}), "wrong type"),
    ],
)
def test_everything_else_is_refused(text, words):
    with pytest.raises(RunReadError, match=words) as caught:
        load(text)
    assert str(caught.value).startswith("expected a whole diagnosis of schema longreach.diagnosis/1, got ")
