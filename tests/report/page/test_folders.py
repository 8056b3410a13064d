"""Folders as they may be found: whole, empty, being written, cut off, of another version, of somebody else."""

import json
import math
import os
import shutil
import sqlite3

import pytest
from tests.report.page.figures.stories import trial
from tests.report.page.parsed import Parsed
from tests.report.page.whole import OUTCOME, PATCH, PLAN
from typer.testing import CliRunner

from longreach.cli import app
from longreach.folder import Claim
from longreach.launch import diagnose_run
from longreach.probes.samples import Curve, LayerKey
from longreach.quantities.spikes import Spike
from longreach.report import json as as_json
from longreach.report import proved
from longreach.report.page import file, html
from longreach.report.page.file import PAGE, leave
from longreach.store import Store
from longreach.story import read

TRAINING = {
    "train.json": json.dumps(PLAN),
    "outcome.json": json.dumps(OUTCOME),
    "events.csv": 'step,what,why\n7,skipped,"the gradient is 1e9, too long"\n9,went back,to step 4\n',
    "validation.csv": "step,loss\n5,0.5\n10,nan\n",
}
TRIAL = {"proof.json": trial().to_json(), "patch.diff": PATCH}


def begun(folder, value=1.0, module="rnn", steps=30) -> Store:
    """A run as `longreach run` stores it, going on until its store is closed."""
    store = Store.create(folder)
    store.put_meta(script="train.py", argv=["--lr", "1"], steps=steps, seconds=2.0, spent=0.02)
    store.note("something was late")
    lags = tuple(range(0, 60, 3))
    for step in range(4):
        fade = tuple(value * -0.5 * lag for lag in lags)
        store.add_curve(LayerKey(module, "RNN tanh", 0, "forward", 16), Curve(step, lags, fade, None, None, False))
    store.add_losses([(step, value + step % 30) for step in range(steps)])
    store.add(Spike("", 12, 0.3, 6.0, 4, True, module, 11, 33.0, -1))
    store.commit()
    return store


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a training, with all that it leaves, and that of a trial."""
    place = tmp_path_factory.mktemp("runs")
    control = place / "trial" / "runs" / "control" / "seed-0"
    control.parent.mkdir(parents=True)
    begun(place / "run").close()
    (place / "run" / "diagnosis.json").write_text(as_json.render(diagnose_run(place / "run")))
    shutil.copytree(place / "run", control)
    for name, text in TRAINING.items():
        (place / "run" / name).write_text(text)
    for name, text in TRIAL.items():
        (place / "trial" / name).write_text(text)
    return place


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made / "run", tmp_path / "run")


@pytest.fixture
def tried(made, tmp_path):
    return shutil.copytree(made / "trial", tmp_path / "trial")


def told(folder) -> str:
    return Parsed(html.render(read(folder))).words


def test_all_that_lies_in_a_folder_is_told(folder, tried):
    for place, parts in ((folder, {"training"}), (tried, {"proof"})):
        page = Parsed(html.render(read(place)))
        hidden = {element.attributes["id"] for element in page.all("section") if "hidden" in element.attributes}
        assert hidden == {"findings", "training", "proof"} - parts
        assert "something was late" in page.words
        assert "--lr 1" in page.words
        names = {figure["name"] for figure in page.data["figures"]}
        assert {"reach-and-need", "reach-over-training", "loss-and-gradient", *(parts - {"training"})} <= names


def test_an_empty_folder(tmp_path):
    assert f"{tmp_path}: expected the folder of a run, found nothing of longreach's in it" in told(tmp_path)


def test_a_folder_of_somebody_else(tmp_path):
    (tmp_path / "diagnosis.json").write_bytes(bytes(range(256)))
    (tmp_path / "record.sqlite").mkdir()
    (tmp_path / "train.json").write_text('["not", "ours"]')
    assert "expected the plan of a training, got something else" in told(tmp_path)


def test_a_run_that_is_being_written(tmp_path):
    claim = Claim(tmp_path / "run")
    store = Store.create(claim.folder, claimed=True)
    assert "The run is still going on" in told(claim.folder), "before the first step"
    store.put_meta(script="train.py", argv=[], steps=30, seconds=2.0, spent=0.02)
    store.add_losses([(step, 1.0) for step in range(30)])
    store.commit()
    assert "The run is still going on" in told(claim.folder)
    store.close()
    claim.release()
    assert "The run is still going on" not in told(claim.folder)


@pytest.mark.parametrize("name", ["diagnosis.json", "record.sqlite", *TRAINING, *TRIAL])
def test_a_file_that_is_cut_off_anywhere_costs_no_more_than_its_part(folder, tried, name):
    place = tried if name in TRIAL else folder
    content = (place / name).read_bytes()
    for share in (0, 0.001, 0.1, 0.35, 0.5, 0.77, 0.97, 1 - 1.5 / len(content)):
        (place / name).write_bytes(content[: int(share * len(content))])
        parts = html.content(read(place))["parts"]
        assert "train.py" in parts["run"]
        assert parts["layers"], "of diagnosis.json, or judged anew from what is stored"
        lost = name in ("train.json", "outcome.json", "proof.json")
        if name != "record.sqlite":  # whose last pages may hold nothing
            assert ("What is missing here" in parts["run"]) == lost
        assert lost or parts["proof" if name in TRIAL else "training"]


@pytest.mark.parametrize("name", ["diagnosis.json", "proof.json"])
def test_a_file_of_another_version(folder, tried, name):
    place = tried if name in TRIAL else folder
    content = json.loads((place / name).read_text())
    (place / name).write_text(json.dumps({**content, "schema": "longreach.future/9"}))
    assert "something was late" in told(place)
    assert ("expected a proof of schema longreach.proof/1, got 'longreach.future/9'" in told(place)) == (place is tried)


def test_a_store_of_another_version_is_named(folder):
    with sqlite3.connect(folder / "record.sqlite") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    (folder / "diagnosis.json").unlink()
    assert "schema 99" in told(folder)


def test_nan_everywhere(tmp_path):
    begun(tmp_path / "run", value=math.nan).close()
    page = Parsed(html.render(read(tmp_path / "run")))
    assert "nan" in json.dumps([figure["rows"] for figure in page.data["figures"]])
    assert page.all("figure")


def test_a_hundred_thousand_recorded_steps(tmp_path):
    begun(tmp_path / "run", steps=100_000).close()
    page = html.render(read(tmp_path / "run"))
    assert "100,000" in Parsed(page).words or "100000 steps" in Parsed(page).words
    assert len(page.encode()) < 3_000_000


def test_hostile_names(tmp_path):
    hostile = '../<script>alert("1")</script>\u202e'
    begun(tmp_path / "<img src=x onerror=alert(1)>", module=hostile + "a" * 10_000).close()
    page = Parsed(html.render(read(tmp_path / "<img src=x onerror=alert(1)>")))
    assert len(page.all("script")) == 3, "plotly.js, the page's own, and what both of them read"
    assert not page.all("img")
    assert '../<script>alert("1")</script>\\u202e' in page.by_id("layers").text


# report.html and `longreach report`


def test_a_page_is_left_in_the_folder(folder):
    assert leave(folder) is None
    assert Parsed((folder / PAGE).read_text()).all("h1")


def test_a_full_disk_is_a_sentence_and_leaves_nothing(folder, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    before = sorted(folder.iterdir())
    assert leave(folder).startswith("report.html could not be written: No space left on device")
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("error", [MemoryError("much"), KeyboardInterrupt(), ImportError("jinja2")], ids=repr)
def test_no_trouble_with_the_page_gets_out(folder, monkeypatch, error):
    monkeypatch.setattr(file, "write_whole", lambda *_: (_ for _ in ()).throw(error))
    assert leave(folder).startswith("report.html ")


def report(*arguments):
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def test_report_gives_the_page(folder, tmp_path):
    given = report(folder, "--format", "html")
    assert given.exit_code == 0
    assert Parsed(given.stdout_bytes.decode()).by_id("verdict")
    assert report(folder, "--format", "html", "--out", tmp_path / "page.html").exit_code == 0
    assert (tmp_path / "page.html").read_bytes() == given.stdout_bytes


@pytest.mark.parametrize("format", ["text", "json"])
def test_every_format_goes_to_a_file(folder, tmp_path, format):
    assert report(folder, "--format", format, "--out", tmp_path / "out").exit_code == 0
    assert (tmp_path / "out").read_text() == report(folder, "--format", format).stdout


def test_a_file_that_cannot_be_written_and_a_folder_that_is_not_there(folder, tmp_path):
    error = report(folder, "--out", tmp_path / "none" / "x").exception
    assert "expected a file that can be written, got: No such file or directory" in str(error)
    assert "expected a run folder" in str(report(tmp_path / "nowhere", "--format", "html").exception)


def test_report_of_a_trial_shows_the_script_as_it_is_and_the_proof(tried):
    shown = report(tried)
    assert shown.exit_code == 0
    assert "train.py" in shown.output
    assert shown.output.endswith(proved.render(trial()))
    assert json.loads(report(tried, "--format", "json").stdout)["run"]["script"] == "train.py"
