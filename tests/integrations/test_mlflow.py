"""MLflow with an SQLite store and no server."""

import json
import math

import mlflow
import pytest
from tests.integrations.test_scalars import INF, NAN, Mark, Track, layer, run, track

from longreach.errors import ArgumentError
from longreach.integrations.mlflow import AT_ONCE, log
from longreach.integrations.scalars import Run

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One store for all tests: making its tables takes MLflow seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    return mlflow.create_experiment("tests", artifact_location=f"file://{folder}/artifacts")


@pytest.fixture
def begun(store):
    with mlflow.start_run(experiment_id=store) as active:
        yield active.info.run_id


def metric(run_id, name):
    found = mlflow.MlflowClient().get_metric_history(run_id, f"longreach/{name}")
    return sorted((point.step, point.value) for point in found)


def artifact(run_id, name):
    return mlflow.artifacts.load_text(mlflow.get_run(run_id).info.artifact_uri + f"/longreach/{name}")


def test_a_run_folder_is_told_as_its_diagnosis_tells_it(plain_folder, begun):
    folder = plain_folder("first")
    log(folder)
    told, kept = Run.of(folder), mlflow.get_run(begun)
    assert kept.data.tags["longreach/verdict"] == "vanishing-in-time"
    assert "LR101 vanishing-in-time" in kept.data.tags["longreach/findings"]
    assert kept.data.params["longreach/script"].endswith("recalling.py")
    assert kept.data.metrics["longreach/need/rnn"] == 49
    losses = told.history.losses
    assert metric(begun, "loss") == list(zip(losses.steps, losses.values, strict=True))
    reach = told.reach()["rnn"]
    last = [(told.diagnosis.record.steps, told.diagnosis.record.layers[0].reach.lag)]
    assert metric(begun, "reach/rnn") == list(zip(reach.steps, reach.reach, strict=True)) + last
    assert json.loads(artifact(begun, "diagnosis.json")) == json.loads((folder / "diagnosis.json").read_text())
    assert artifact(begun, "report.html") == (folder / "report.html").read_text()


def test_nan_and_infinities_are_logged_and_counted(begun):
    lost = Mark(1, "NaN or infinity", "the first NaN, on the way forward")
    log(run([layer("rnn")], losses=Track("loss", (0, 1, 2), (1.0, NAN, -INF)), marks=(lost,)), begun)
    values = dict(metric(begun, "loss"))
    assert math.isnan(values[1])
    assert values[2] < -1.7e308  # what SQL stores make of an infinity
    assert metric(begun, "non_finite") == [(0, 0), (1, 2), (2, 3), (20, 3)]
    assert "step 1: NaN or infinity: the first NaN, on the way forward" in artifact(begun, "verdict.txt")


def test_names_that_mlflow_does_not_take(begun):
    log(run([layer("a[0]/../<b>")], reach=(track("a[0]/../<b>"),)))
    names = {name for name in mlflow.get_run(begun).data.metrics if name.startswith("longreach/reach/")}
    assert names == {"longreach/reach/_b_"}


def test_a_long_run_is_logged_in_parts(begun):
    steps = tuple(range(2 * AT_ONCE + 5))
    log(run(losses=Track("loss", steps, tuple(1 / (1 + step) for step in steps))))
    assert len(metric(begun, "loss")) == len(steps)


def test_no_active_run(store):
    with pytest.raises(ArgumentError, match=r"expected an active run of MLflow, got none; call mlflow\.start_run"):
        log(run())
