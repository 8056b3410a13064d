"""Weights & Biases without a network: what an offline run has on disk, read as its own client would sync it."""

import json
import math
import struct

import pytest
import wandb
from tests.integrations.test_scalars import INF, NAN, Mark, Track, layer, run
from wandb.proto import wandb_internal_pb2

from longreach.errors import ArgumentError
from longreach.integrations.scalars import Run
from longreach.integrations.wandb import log

pytestmark = pytest.mark.usefixtures("wandb_ends")


@pytest.fixture
def begun(tmp_path):
    active = wandb.init(project="p", dir=tmp_path, mode="offline", settings=wandb.Settings(x_disable_stats=True))
    yield active
    active.finish()


def _end(active):
    active.finish()
    wandb.teardown()  # only now is everything on the disk


def records(folder):
    """What the client wrote: the log format of LevelDB, behind a header of seven bytes."""
    (file,) = folder.rglob("*.wandb")
    data, at, held = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 2**15 - at % 2**15
        if left < 7:
            at += left
            continue
        _, size, kind = struct.unpack("<IHB", data[at : at + 7])
        held += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part of one
            yield wandb_internal_pb2.Record.FromString(held)
            held = b""


def history(folder):
    """{longreach/step: {name: value}} of every row."""
    found = {}
    for record in records(folder):
        if record.HasField("history"):
            items = {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
            found.setdefault(items["longreach/step"], {}).update(items)
    return found


def test_a_run_folder_is_told_as_its_diagnosis_tells_it(plain_folder, tmp_path, begun):
    folder = plain_folder("first")
    log(folder)
    told, summary = Run.of(folder), dict(begun.summary)
    _end(begun)
    assert summary["longreach/verdict"] == "vanishing-in-time"
    assert "LR101 vanishing-in-time" in summary["longreach/findings"]
    assert summary["longreach/need/rnn"] == 49
    rows = history(tmp_path)
    losses = told.history.losses
    assert [rows[step]["longreach/loss"] for step in losses.steps] == pytest.approx(list(losses.values))
    reach = told.reach()["rnn"]
    assert [rows[step]["longreach/reach/rnn"] for step in reach.steps] == list(reach.reach)
    (page,) = tmp_path.rglob("*.html")
    assert page.read_text() == (folder / "report.html").read_text()
    metrics = [record.metric for record in records(tmp_path) if record.HasField("metric")]
    globs = {metric.glob_name: metric.step_metric for metric in metrics}
    assert globs["longreach/*"] == "longreach/step"


def test_nan_and_infinities_are_logged_and_counted(tmp_path, begun):
    made = run(
        [layer("rnn")],
        losses=Track("loss", (0, 1, 2), (1.0, NAN, INF)),
        marks=(Mark(1, "NaN or infinity", "the first NaN, on the way forward"),),
    )
    log(made, begun)
    summary = dict(begun.summary)
    _end(begun)
    rows = history(tmp_path)
    assert math.isnan(rows[1]["longreach/loss"])
    assert rows[2]["longreach/loss"] == math.inf
    assert [rows[step]["longreach/non_finite"] for step in range(3)] == [0, 2, 3]
    assert summary["longreach/non_finite"] == 3
    assert "step 1: NaN or infinity: the first NaN, on the way forward" in summary["longreach/told"]


def test_no_active_run():
    assert wandb.run is None
    with pytest.raises(ArgumentError, match=r"expected an active run of Weights & Biases, got none; call wandb.init"):
        log(run())
