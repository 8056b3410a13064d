"""What a notebook shows: well-formed wherever it is put, right to the point, and harmless whatever names are in it."""

import math
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from tests.diagnosis.firing import FIRING
from tests.report.test_terminal import ANY_RECORD, BROKEN, LAGS, NONE_FOUND, bump, fading, layer, record
from tests.report.test_treated import PROOF, arm

from longreach.diagnosis import Diagnosis, Finding, diagnose
from longreach.quantities.depth import Depth
from longreach.record import NonFinite, Reach, Record
from longreach.report.svg import LEFT, RIGHT
from longreach.trial.proof import Arm, Outcome, Proof

TEXT = {"div", "p", "strong", "br", "details", "summary", "span", "code", "ul", "li"}
TABLES = {"table", "thead", "tbody", "tr", "th", "td"}
DRAWN = {"svg", "title", "desc", "line", "polyline", "polygon", "circle", "text"}
VOID = ("br", "line", "polyline", "polygon", "circle")
SVG = "{http://www.w3.org/2000/svg}"


class Strict(HTMLParser):
    """Reads HTML, and raises for what is not closed, not known, or could run."""

    def __init__(self):
        super().__init__()
        self.open, self.words = [], []

    def handle_starttag(self, tag, attrs):
        assert tag in TEXT | TABLES | DRAWN, tag
        assert not any(name.startswith("on") or name in ("href", "src", "id", "class") for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        assert tag in VOID, tag

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def words(text):
    """The words of a fragment, which is read strictly."""
    reader = Strict()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return " ".join(" ".join(reader.words).split())


def picture(text):
    """The first SVG of a fragment, read as XML: all its attributes and text have to be in order."""
    begin = text.index("<svg")
    depth, at = 0, begin
    while True:
        opens, closes = text.find("<svg", at), text.find("</svg>", at)
        if opens != -1 and opens < closes:
            depth, at = depth + 1, opens + 4
        else:
            depth, at = depth - 1, closes + 6
        if not depth:
            return ET.fromstring(text[begin:at])


def lines(svg, color):
    return [
        {name: float(one.get(name)) for name in ("x1", "x2", "y1", "y2")}
        for one in svg.iter(f"{SVG}line")
        if one.get("stroke") == color
    ]


def across(lag, end):
    return pytest.approx(LEFT + (RIGHT - LEFT) * lag / end, abs=0.06)


@pytest.mark.parametrize("rule", FIRING, ids=lambda rule: rule.__name__)
def test_every_finding_is_told(rule):
    diagnosis = diagnose(FIRING[rule])
    text = words(diagnosis._repr_html_())
    for finding in diagnosis.findings:
        assert finding.code in text
        assert finding.severity in text
        assert finding.summary[:200] in text
        assert all(remedy in text for remedy in finding.remedies)


def test_the_lines_stand_at_their_lags():
    svg = picture(diagnose(record(layer()))._repr_html_())
    (reach,), (need,) = lines(svg, "#1f83c4"), lines(svg, "#d55e00")
    assert reach["x1"] == reach["x2"] == across(11, 149)
    assert need["x1"] == need["x2"] == across(140, 149)
    said = [one.text for one in svg.iter(f"{SVG}text")]
    assert "reach 11" in said
    assert "need 140" in said
    assert svg.get("role") == "img"
    assert svg.find(f"{SVG}title").text == "Reach and need over the lag: rnn"
    assert svg.find(f"{SVG}desc").text == "Reach 11 of 149 steps. Need 140."


def test_the_curve_of_the_gain_crosses_the_threshold_at_the_reach():
    svg = picture(diagnose(record(layer()))._repr_html_())
    curve = next(svg.iter(f"{SVG}polyline"))
    points = [tuple(map(float, point.split(","))) for point in curve.get("points").split()]
    assert [x for x, _ in points] == [across(lag, 149) for lag in LAGS]
    threshold = next(one for one in svg.iter(f"{SVG}line") if one.get("stroke-dasharray") == "2 4")
    assert points[LAGS.index(11)][1] == pytest.approx(float(threshold.get("y1")), abs=0.1)
    assert points[0][1] < points[1][1] < points[2][1]  # down, on a screen


def test_the_strongest_need_is_the_highest_point():
    svg = picture(diagnose(record(layer(need=bump(70, 75))))._repr_html_())
    points = [tuple(map(float, p.split(","))) for p in next(svg.iter(f"{SVG}polygon")).get("points").split()]
    assert min(points, key=lambda point: point[1])[0] == pytest.approx(LEFT + (RIGHT - LEFT) * 70 / 149, abs=1)


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (layer(need=None), "not tested"),
        (layer(need=NONE_FOUND), "none found; 8% of the error would have been"),
        (layer(reach=Reach(0, 0.01, 149, math.nan, LAGS, (math.nan,) * 6, None, 1)), "NaN"),
        (layer(reach=Reach(3, 0.01, 149, -1.0, LAGS, (0.0, *(-math.inf,) * 5), None, 1)), "reach 3"),
        (layer(reach=Reach(149, 0.01, 149, 9.0, LAGS, (0.0, *(math.inf,) * 5), None, 1)), "1e+300"),
        (layer(reach=None, need=None, blind="no gradient"), "Nothing could be measured here: no gradient"),
        (layer(reach=Reach(0, 0.01, 0, math.nan, (0,), (0.0,), None, 1), need=None), "one step long"),
    ],
    ids=["untested", "none", "NaN", "nothing left", "infinity", "blind", "one step"],
)
def test_what_is_missing_or_no_number_is_said(own, expected):
    for shown in (diagnose(record(own)), record(own)):
        text = shown._repr_html_()
        assert expected in words(text)
        if "<svg" in text:
            assert "nan" not in ET.tostring(picture(text), encoding="unicode")


def test_a_record_has_no_verdict():
    text = words(record(layer())._repr_html_())
    assert "train.py" in text
    assert "not judged" in text
    assert "LR" not in text
    assert "anishing" not in text
    assert "reach 11" in text


@pytest.mark.parametrize("given", [record(steps=0, loss=None), Record({}, 0, 0.0, math.nan, (), None, None)])
def test_an_empty_record(given):
    assert "Nothing to judge" in words(diagnose(given)._repr_html_())
    assert "not judged" in words(given._repr_html_())


@given(ANY_RECORD)
@settings(deadline=None, max_examples=40)
def test_survives_any_record(anything):
    words(diagnose(anything)._repr_html_())
    words(anything._repr_html_())


def test_hostile_names_are_shown_and_not_obeyed():
    name = "</details><script>alert(1)</script>&amp;\"'`\x1b[2J\u202e\ud800" + "x" * 10_000
    hostile = diagnose(
        replace(
            record(layer(name, kind=name), nonfinite=NonFinite(0, "forward", "unknown", name, name, 1, name)),
            run={"script": name},
            notes=(name,),
        )
    )
    finding = Finding(name, name, "critical", name, name, {name: name}, (name,))
    depth = Depth(name, "layers", (name, name, name), (0.0, -1.0, -2.0), (0.0, -1.0, -2.0), -1.0, 5)
    proof = replace(
        PROOF, arms=(arm(name, (0.1, 0.2, 0.3), reach=9.0), Arm(name, (), name)), notes=(name,), metric=name
    )
    for shown in (
        hostile,
        hostile.record,
        Diagnosis(hostile.record, (finding,)),
        Diagnosis(replace(hostile.record, layers=(), depth=(depth,)), ()),
        proof,
    ):
        text = shown._repr_html_()
        said = words(text)
        assert "<script>alert(1)</script>" in said or "</details><script>" in said
        assert not any(char in text for char in "\x1b\u202e\ud800")
        text.encode()
        assert len(text) < 60_000


def test_a_hundred_layers_are_one_click_away():
    text = diagnose(record(*(layer(f"encoder.{i}.rnn") for i in range(100))))._repr_html_()
    assert "and 92 layers more" in words(text)
    open_rows = text[: text.index("and 92 layers more")].count("encoder.")
    assert open_rows < 60
    assert all(f"encoder.{i}.rnn" in text for i in range(100))


def test_depth_is_drawn_where_there_is_no_layer():
    depth = Depth("0 to 3", "layers", ("3", "2", "1", "0"), (0.0, -3.0, -math.inf, math.nan), (0.0,) * 4, -3.0, 5)
    text = Diagnosis(replace(record(), depth=(depth,)), ())._repr_html_()
    svg = picture(text)
    assert svg.find(f"{SVG}title").text == "Gain over depth: 0 to 3"
    assert "nan" not in "".join(line.get("points") for line in svg.iter(f"{SVG}polyline"))


def test_a_proof_shows_its_sentence_its_effects_and_its_arms():
    text = PROOF._repr_html_()
    said = words(text)
    assert PROOF.sentence in said
    assert "forget-bias: not applicable: expected an LSTM or GRU" in said
    assert "proven" in said
    svg = picture(text)
    dots = {float(one.get("cy")): (float(one.get("cx")), one.get("fill")) for one in svg.iter(f"{SVG}circle")}
    names = {float(one.get("y")) - 4: one.text for one in svg.iter(f"{SVG}text")}
    placed = {names[min(names, key=lambda at, y=y: abs(at - y))]: dot for y, dot in dots.items()}
    zero = next(float(one.get("x")) for one in svg.iter(f"{SVG}text") if one.text == "0")
    assert placed["orthogonal-init+clip-norm"][0] > zero
    assert placed["orthogonal-init+clip-norm"][1] == "#1c9460"
    assert placed["relu"][0] == pytest.approx(zero, abs=1)


@pytest.mark.parametrize(
    "ends",
    [(math.nan,) * 3, (math.inf, -math.inf, 1e300), (0.0, 0.0, 0.0), ()],
    ids=["NaN", "infinite", "nothing", "no runs"],
)
def test_a_proof_of_odd_numbers(ends):
    runs = tuple(Outcome(seed, end, (0.2,), 0.0, 0.0, None, None) for seed, end in enumerate(ends))
    text = Proof(Arm("control", runs), Arm("random", runs), (Arm("relu", runs),))._repr_html_()
    words(text)
    if "<svg" in text:
        picture(text)


def test_the_first_thing_to_see_is_the_gravest():
    mild = Finding("LR103", "short-reach-harmless", "info", "rnn", "Fine.", {})
    grave = Finding("LR101", "vanishing-in-time", "critical", "rnn", "Bad.", {})
    text = words(Diagnosis(record(layer(reach=fading(11)), nonfinite=BROKEN), (mild, grave))._repr_html_())
    assert text.startswith("Vanishing in time (LR101, critical, in rnn) Bad.")


def test_torch_is_not_needed():
    script = (
        "import sys; from longreach.diagnosis import diagnose; from longreach.record import Record; "
        "d = diagnose(Record({}, 3, 1.0, 0.0, (), None, None)); d._repr_html_(); d.record._repr_html_(); "
        "assert not {'torch', 'plotly', 'jinja2', 'IPython'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
