"""MLflow: the metrics of a run, its verdict and its files. Works with a local SQLite store and without a server."""

import posixpath
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from longreach.errors import ArgumentError
from longreach.integrations.missing import missing
from longreach.integrations.scalars import PREFIX, Run
from longreach.report import json
from longreach.report.page.file import PAGE

try:
    import mlflow
    from mlflow.entities import Metric, Param, RunTag
except ModuleNotFoundError as error:
    raise missing("mlflow", error) from error

if TYPE_CHECKING:
    from longreach.watching import Watch

AT_ONCE = 1000  # metrics: as many as MLflow takes in one call
LONGEST = 250  # of a metric's name
FILES = "longreach"  # folder of the artifacts


def log(run: "Run | Watch | Path | str", run_id: str | None = None) -> None:
    """Log a run of longreach to a run of MLflow.

    run     a run folder, or a watch that is over or still going on
    run_id  of MLflow; None: the run that is active
    Logs    every scalar of longreach.integrations.scalars with its training step; the script as a parameter; verdict
            and findings as tags; diagnosis.json, verdict.txt, and report.html, where there is one, as artifacts
    NaN     is logged as it is, and not drawn; SQL stores keep an infinity as the largest number there is, ±1.8e308:
            longreach/non_finite counts both, and verdict.txt says where the first was
    Raises  ArgumentError where no run is active; RunReadError where the folder holds no record, or a damaged one
    """
    if run_id is None:
        active = mlflow.active_run()
        if active is None:
            raise ArgumentError("run_id: expected an active run of MLflow, got none; call mlflow.start_run() first")
        run_id = active.info.run_id
    run, client = Run.of(run), mlflow.MlflowClient()
    now = round(1000 * time.time())
    metrics = [
        Metric(_allowed(track.name), value, now, step)
        for track in run.courses()
        for step, value in zip(track.steps, track.values, strict=True)
    ]
    metrics += [Metric(_allowed(name), value, now, run.diagnosis.record.steps) for name, value in run.totals().items()]
    for start in range(0, len(metrics), AT_ONCE):
        client.log_batch(run_id, metrics=metrics[start : start + AT_ONCE])
    tags = [RunTag(name, text) for name, text in run.labels().items()]
    script = run.diagnosis.record.run.get("script")
    client.log_batch(run_id, params=[Param(PREFIX + "script", str(script))] if script else [], tags=tags)
    client.log_text(run_id, json.render(run.diagnosis), f"{FILES}/diagnosis.json")
    client.log_text(run_id, run.words(), f"{FILES}/verdict.txt")
    if run.folder and (run.folder / PAGE).is_file():
        client.log_artifact(run_id, str(run.folder / PAGE), FILES)


def _allowed(name: str) -> str:
    """With the letters that MLflow takes, and as a path that leads nowhere else."""
    return posixpath.normpath(re.sub(r"[^/\w.\- :]", "_", name)).replace("../", "_")[:LONGEST]
