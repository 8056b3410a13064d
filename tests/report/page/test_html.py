import base64
import gzip
import hashlib
import itertools
import json
import math
import re
from dataclasses import replace

import pytest
from tests.report.page.figures.stories import EMPTY, HOSTILE, bump, fading, judged, layer, plain_story, torture, trial
from tests.report.page.parsed import Parsed
from tests.report.page.whole import WHOLE

from longreach.diagnosis import Diagnosis
from longreach.diagnosis.finding import Finding
from longreach.history import History, Track
from longreach.report.page import html
from longreach.story import Story, Trained


def page_of(story: Story) -> Parsed:
    return Parsed(html.render(story))


# What a reader finds


def test_the_verdict_comes_first_and_the_picture_next():
    page = page_of(WHOLE)
    assert page.all("h1")[0].text == "vanishing in time"
    assert page.words.startswith("longreach run vanishing in time critical LR101, in rnn The error still depends")
    assert page.all("figure")[0].attributes["id"] == "figure-reach-and-need"
    parts = [element.attributes["id"] for element in page.all("section") if "hidden" not in element.attributes]
    assert parts == list(html.PARTS)


def test_a_finding_has_its_evidence_and_remedies_in_words():
    found = page_of(WHOLE).by_id("finding-LR101").text
    for expected in (
        "critical",
        "The evidence",
        "p value",
        "0.0004",
        "orthogonal-init",
        "start with weights that keep",
    ):
        assert expected in found


def test_a_proof_has_its_sentence_its_arms_and_its_patch():
    proof = page_of(WHOLE).by_id("proof").text
    sentence = WHOLE.proof.sentence.replace("->", "→")
    for expected in (
        sentence,
        "random change",
        "0.17 → 0.011",
        "+remedies.linear_recurrent(model)",
        "forget-bias: not",
    ):
        assert expected in proof
    assert "0.17->" not in proof


def test_a_training_has_its_scores_and_reasons():
    page = page_of(WHOLE)
    for expected in (
        "0.0127",
        "0.1667",
        "NaN",
        "the data need 97 of 99 steps",
        "600 updates in 75 s, 2 skipped",
        "forecast.csv",
    ):
        assert expected in page.by_id("training").text
    assert "On the test data: loss 0.0127; the best rule without a network has 0.1667." in page.words


def test_what_was_run_is_told():
    run = {"script": "train.py", "argv": ["--lr", "a b"], "versions": {"torch": "2.13"}, "start": 1.8e9, "exit": 1}
    diagnosis = replace(WHOLE.diagnosis, record=replace(WHOLE.diagnosis.record, run=run, notes=("torch was late",)))
    told = page_of(replace(WHOLE, diagnosis=diagnosis)).by_id("run").text
    expected = ("train.py", "--lr 'a b'", "torch 2.13", "2027-01-15 08:00:00 UTC", "1.3% of the time", "0, 1, 2, 3, 4")
    for words in (*expected, "384 sequences", "torch was late", "events.csv: cut off"):
        assert words in told


@pytest.mark.parametrize("left_out", ["diagnosis", "history", "proof", "trained", "patch", "missing"])
def test_every_part_may_be_absent(left_out):
    nothing = {"history": History(), "missing": ()}.get(left_out)
    page = page_of(replace(WHOLE, **{left_out: nothing}))
    gone = {"diagnosis": "layers", "proof": "proof", "trained": "training"}.get(left_out)
    hidden = {element.attributes["id"] for element in page.all("section") if "hidden" in element.attributes}
    assert hidden == ({gone, "findings"} if gone == "layers" else {gone} if gone and left_out != "proof" else set())


@pytest.mark.parametrize("story", EMPTY, ids=lambda story: story.name)
def test_a_story_without_a_verdict_says_so(story):
    assert (
        page_of(replace(story, missing=("x: expected a run folder, found none",))).all("h1")[0].text
        == "nothing to judge"
    )


def test_without_figures_no_plotly_is_carried():
    assert len(html.render(Story("nothing", missing=("nothing here",)))) < 60_000


def test_a_run_that_goes_on_says_so():
    assert "The run is still going on" in page_of(replace(WHOLE, going=True)).words
    assert "Nothing could be judged yet" in page_of(Story("new", going=True)).words
    assert "going on" not in page_of(WHOLE).words


def test_findings_of_one_kind_share_a_place():
    evidence = {"layer": 0, "share": 0.5}
    many = tuple(
        Finding("LR301", "dead-units", "warning", f"fc{n}", f"{n} are dead.", evidence, ("elu",)) for n in range(30)
    )
    page = page_of(Story("run", diagnosis=Diagnosis(WHOLE.diagnosis.record, many)))
    assert "in fc0 and 29 more" in " ".join(page.by_id("finding-LR301").text.split())
    assert "The same in 10 more" in page.by_id("finding-LR301").text


@pytest.mark.parametrize(
    "plan", [{}, {"plan": 3}, {"plan": {"architecture": [], "reasons": "no", "sizes": {"seed": {}}}}]
)
@pytest.mark.parametrize("outcome", [None, {}, {"test": 3, "naive": {"loss": "x"}, "left": 4, "seconds": "long"}])
def test_a_training_whose_files_were_changed_by_hand(plan, outcome):
    assert page_of(Story("run", trained=Trained(plan, outcome, ()))).by_id("training").text


# For everybody


def test_headings_are_in_order_and_everything_has_a_name():
    page = page_of(WHOLE)
    levels = [int(element.tag[1]) for element in page.elements if re.fullmatch("h[1-6]", element.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert page.all("html")[0].attributes["lang"] == "en"
    for element in page.elements:
        attributes = element.attributes
        if attributes.get("role") in ("region", "application"):
            assert attributes["aria-label"]
        for name in ("aria-labelledby", "aria-describedby"):
            if name in attributes:
                assert page.by_id(attributes[name]).text.strip()
    assert all(cell.attributes.get("scope") in ("col", "row") for cell in page.all("th"))


def test_every_figure_has_a_caption_words_and_numbers():
    page = page_of(WHOLE)
    for figure in page.data["figures"]:
        shown = page.by_id(f"figure-{figure['name']}").text
        for expected in (figure["title"], figure["look"], figure["said"], *figure["columns"]):
            assert expected in shown
        more = len(figure["rows"]) - 50
        assert (f"{more} more rows are in the CSV file" in shown) == (more > 0)


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, "contrast ratio"."""

    def luminance(colour):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_what_it_stands_on(theme):
    light, dark = re.findall(r":root[^{]*\{(.*?)\}", (html.HERE / "page.css").read_text(), re.DOTALL)
    colours = dict(re.findall(r"--(\w+): (#\w{6});", light if theme == "light" else dark))
    for name in set(colours) - {"paper", "card", "edge", "grid"}:
        for ground in ("paper", "card"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)


# What must never happen


def addresses(page: Parsed) -> set[str]:
    names = ("href", "src", "action", "srcset", "data", "poster", "formaction", "ping")
    return {element.attributes[name] for element in page.elements for name in names if name in element.attributes}


def test_the_page_names_no_address_and_runs_nothing_but_its_own_scripts():
    page = page_of(torture())
    assert addresses(page) == {"#verdict", "data:,"}
    assert not [name for element in page.elements for name in element.attributes if name.startswith("on")]
    policy = page.all("meta")[1].attributes["content"]
    (own,) = [script.text for script in page.all("script") if "type" not in script.attributes]
    plotly = gzip.decompress(base64.b64decode(page.by_id("plotly").text)).decode()
    sums = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in (plotly, own)]
    hashes = [f"'sha256-{checksum}'" for checksum in sums]
    assert f"script-src {' '.join(hashes)};" in policy
    assert policy.startswith("default-src 'none'")
    assert "connect-src 'none'" in policy
    assert "unsafe-eval" not in policy


def told(text: str) -> Story:
    """A run every string of which is the same."""
    record = judged(layer(text, fading(), bump())).record
    run = {"script": text, "argv": [text], "versions": {text: text}}
    finding = Finding("LR101", text, "critical", text, text, {text: text}, (text,))
    return Story(
        text,
        diagnosis=Diagnosis(replace(record, run=run, notes=(text,)), (finding,)),
        proof=trial(notes=(text,)),
        patch=text,
        trained=Trained(
            {"plan": {"architecture": {"cell": text}, "reasons": [text]}}, {"test": {text: 1.0}, "left": [text]}, ()
        ),
        missing=(text,),
    )


@pytest.mark.parametrize("text", [text for text in HOSTILE if len(text) < 100], ids=repr)
def test_no_string_becomes_markup(text):
    hostile, benign = (Parsed(html.render(told(one))) for one in (text, "x"))
    outline = [[(element.tag, element.inside) for element in page.elements] for page in (hostile, benign)]
    assert outline[0] == outline[1]
    assert addresses(hostile) == addresses(benign)


def test_a_long_string_is_cut_and_the_whole_is_at_hand():
    text = "a" * 10_000
    page = page_of(told(text))
    assert max(len(word) for word in page.by_id("findings").text.split()) <= 2001
    assert max(len(element.text) for element in page.all("code")) <= 161
    assert any(element.attributes.get("title", "").startswith("a" * 1000) for element in page.all("span"))


def test_nothing_turns_letters_around_or_steers_anything():
    text = html.render(told("\x1b[31mred\u202eder\u2066\x00\x07\ud800"))
    shown = text[: text.index('<script type="application/json"')]
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", shown)
    text.encode("utf-8")


def test_json_cannot_end_its_element():
    page = html.render(torture())
    carried = page[page.index('id="data">') :].split("</script>")[0]
    assert not re.search("[<>&\u2028\u2029]", carried.removeprefix('id="data">'))


# Numbers


def test_what_is_not_finite_is_a_gap_in_a_drawing_and_a_word_in_a_table():
    history = History(losses=Track("loss", tuple(range(6)), (3.0, math.nan, math.inf, -math.inf, 2.0, 1.0)))
    figures = html.content(Story("run", history=history))["figures"]
    json.dumps(figures, allow_nan=False)
    (figure,) = [figure for figure in figures if "loss" in figure["name"]]
    cells = {cell for row in figure["rows"] for cell in row}
    assert {"nan", "inf", "-inf"} <= cells
    (drawn,) = [trace["y"] for trace in figure["traces"] if trace.get("mode") == "lines" and 3.0 in trace["y"]]
    assert {3.0, None, 1.0} <= set(drawn)


def test_the_worst_story_is_a_page_of_less_than_four_megabytes():
    page = html.render(torture())
    assert len(page.encode()) < 4_000_000
    Parsed(page)


def test_a_million_steps_are_a_page_of_less_than_four_megabytes():
    steps = tuple(range(1_000_000))
    history = History(losses=Track("loss", steps, tuple(math.sin(step) for step in steps)))
    assert len(html.render(replace(plain_story(), history=history))) < 4_000_000


def test_the_content_is_what_the_page_is_made_of():
    content = html.content(WHOLE)
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert set(content) == {"title", "going", "parts", "figures"}
    page = html.render(WHOLE)
    assert all(part in page for part in content["parts"].values())


def test_a_page_that_keeps_up_may_ask_its_own_host_alone():
    page = Parsed(html.page(html.content(WHOLE), events="/events?key=1"))
    assert page.data["events"] == "/events?key=1"
    assert "connect-src 'self'" in page.all("meta")[1].attributes["content"]
