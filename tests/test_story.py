"""What a run folder tells: all of it where it is whole; where it is not, what can be read, and what could not."""

import json
import math
import shutil
import sqlite3

import pytest
from tests.report.page.figures.stories import fading, judged, layer, trial

from longreach.diagnosis.verdict import Diagnosis
from longreach.folder import DIAGNOSIS, RECORD, Claim
from longreach.history import Mark
from longreach.probes.samples import Curve, LayerKey
from longreach.quantities.gradients import GradientNorm
from longreach.report import json as rendering
from longreach.store import Store
from longreach.story import CONTROL, Story, read


@pytest.fixture
def run(tmp_path):
    """A folder as `longreach run` leaves it."""
    folder = tmp_path / "run"
    written(folder)
    (folder / DIAGNOSIS).write_text(rendering.render(judged(layer(reach=fading()))))
    return folder


def written(folder):
    store = Store.create(folder)
    store.put_meta(script="train.py", steps=3, seconds=1.0, overhead=0.01)
    store.add_losses([(0, 1.0), (1, math.nan), (2, 0.5)])
    store.add_curve(
        LayerKey("rnn", "RNN tanh", 0, "forward", 8), Curve(0, (0, 1, 2), (0.0, -2.0, -6.0), None, None, False)
    )
    store.add(GradientNorm("", 1, 2.0, 1.0))
    store.close()


def test_a_run_is_told_whole(run):
    story = read(run)
    assert (story.name, story.going, story.missing) == ("run", False, ())
    assert story.diagnosis.record.layers[0].reach == fading()
    assert story.history.losses.steps == (0, 1, 2)
    assert (story.proof, story.trained, story.patch) == (None, None, None)


def test_a_run_that_goes_on_is_judged_by_what_is_stored_so_far(tmp_path):
    store = Store.create(tmp_path / "run")
    store.put_meta(script="train.py", steps=1)
    store.add_losses([(0, 1.0)])
    store.commit()
    story = read(tmp_path / "run")
    store.close()
    assert story.going
    assert story.history.losses.values == (1.0,)
    assert isinstance(story.diagnosis, Diagnosis)
    assert not read(tmp_path / "run").going


def test_a_trial_is_judged_by_the_script_as_it_is(tmp_path):
    folder = tmp_path / "trial"
    written(folder / CONTROL)
    (folder / "proof.json").write_text(trial().to_json())
    (folder / "patch.diff").write_text("--- a\n+++ b\n")
    story = read(folder)
    assert story.proof == trial()
    assert story.patch == "--- a\n+++ b\n"
    assert story.history.losses.steps == (0, 1, 2)
    assert story.missing == ()


def test_a_training_tells_of_its_plan_its_scores_and_what_happened(run):
    (run / "train.json").write_text('{"task": "adding"}')
    (run / "outcome.json").write_text('{"test": {"loss": 0.1}}')
    (run / "validation.csv").write_text(
        "step,loss,wrong\n1,0.5,nan\n2,0.25,0.1\n3,0.1"
    )  # the last line is being written
    (run / "events.csv").write_text('step,what,why\n2,skipped,"a, b"\n1,went back,to step 0\n')
    story = read(run)
    assert story.trained.plan == {"task": "adding"}
    assert story.trained.outcome == {"test": {"loss": 0.1}}
    loss, wrong = story.trained.validation
    assert (loss.name, loss.steps, loss.values) == ("loss", (1, 2), (0.5, 0.25))
    assert math.isnan(wrong.values[0])
    assert story.history.marks == (Mark(1, "went back", "to step 0"), Mark(2, "skipped", "a, b"))


def test_no_folder_is_told_in_a_sentence(tmp_path):
    missing = tmp_path / "none"
    assert read(missing) == Story("none", missing=(f"{missing}: expected a run folder, found none",))


def test_an_empty_folder_is_told_in_a_sentence(tmp_path):
    (said,) = read(tmp_path).missing
    assert "expected the folder of a run" in said


def test_a_file_in_the_place_of_a_folder_is_told_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    assert "expected a run folder" in read(tmp_path / "file").missing[0]


DAMAGES = {
    "cut off": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "empty": lambda file: file.write_bytes(b""),
    "other bytes": lambda file: file.write_bytes(b"\xff\xfe\x00" * 300),
    "other JSON": lambda file: file.write_text("[1, 2]"),
    "nested": lambda file: file.write_text("[" * 200_000),
    "another schema": lambda file: file.write_text('{"schema": "longreach.proof/99"}'),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [RECORD, "proof.json", "train.json", "outcome.json"])
def test_what_is_damaged_is_named_and_the_rest_is_told(run, name, damage):
    (run / "train.json").write_text('{"task": "adding", "steps": 100}')
    (run / "outcome.json").write_text('{"test": {"loss": 0.1}}')
    (run / CONTROL).mkdir(parents=True)
    for file in (RECORD, DIAGNOSIS):
        shutil.copy(run / file, run / CONTROL / file)
    (run / "proof.json").write_text(trial().to_json())
    damaged = run / CONTROL / name if name == RECORD else run / name
    DAMAGES[damage](damaged)
    story = read(run)
    if damage not in ("another schema",) or name in (RECORD, "proof.json"):  # to the others that is a dict as any
        assert len(story.missing) == 1
    assert story.diagnosis.record.layers  # which stands in a file of its own
    assert (story.history.losses.steps == ()) == (name == RECORD)
    assert (story.proof is None) == (name == "proof.json")


def test_a_damaged_diagnosis_is_made_anew_from_the_record(run):
    (run / DIAGNOSIS).write_text("{")
    story = read(run)
    assert story.missing == ()
    assert story.diagnosis.record.layers[0].reach.lags == (0, 1, 2)


def test_a_table_that_is_none_costs_nothing_else(run):
    (run / "train.json").write_text("{}")
    (run / "validation.csv").write_text("step,loss\nlate,0.5\n")
    (run / "events.csv").write_text("a,b\n1,2\n")
    story = read(run)
    assert story.trained.plan == {}
    assert story.history.losses.steps == (0, 1, 2)
    assert [
        f"{run / name}: could not be read" in said
        for name, said in zip(("validation.csv", "events.csv"), story.missing, strict=True)
    ] == [True, True]


def test_a_record_of_another_program_is_told_in_a_sentence(tmp_path):
    connection = sqlite3.connect(tmp_path / RECORD)
    connection.execute("CREATE TABLE t (a)")
    connection.close()
    story = read(tmp_path)
    assert story.diagnosis is None
    assert any("the database of another program" in said for said in story.missing)


def test_reading_writes_nothing(run):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    read(run)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_record_of_a_year_ago_tells_its_losses(run):
    """Schema 1 had no table of samples."""
    connection = sqlite3.connect(run / RECORD)
    connection.executescript("DROP TABLE samples; PRAGMA user_version = 1;")
    connection.close()
    story = read(run)
    assert story.missing == ()
    assert story.history.losses.steps == (0, 1, 2)
    assert story.history.before.steps == ()


def test_a_folder_that_is_claimed_is_going(tmp_path):
    claim = Claim(tmp_path / "run")
    assert read(tmp_path / "run").going
    claim.release()
    assert json.dumps(read(tmp_path / "run").missing)
