"""One case: the script as it is under the spy, and again under `longreach run`."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.clinic.cases import Pair
from benchmarks.clinic.published import judge

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# one thread a process: several cases run side by side
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
TOO_LONG = 600  # seconds


def plain(pair: Pair, ill: bool) -> dict[str, Any]:
    """The run without longreach: its outcome, its output, and what the published rules say."""
    with tempfile.TemporaryDirectory() as folder:
        diary = Path(folder) / "diary.json"
        script, *arguments = pair.command(ill)
        command = ["-m", "benchmarks.clinic.spy", str(diary), str(HERE / "scripts" / script), *arguments]
        row = _run(pair, ill, command, folder)
        row["published"] = judge(json.loads(diary.read_text())) if diary.exists() else {}
    return row


def watched(pair: Pair, ill: bool) -> dict[str, Any]:
    """The run under longreach: its outcome, its output, and the findings."""
    with tempfile.TemporaryDirectory() as folder:
        script, *arguments = pair.command(ill)
        run = Path(folder) / "run"
        command = ["-m", "longreach", "run", "--run-dir", str(run), str(HERE / "scripts" / script), *arguments]
        row = _run(pair, ill, command, folder)
        report = run / "diagnosis.json"
        found = json.loads(report.read_text()) if report.exists() else {"findings": [], "notes": ["no diagnosis"]}
        keys = ("name", "severity", "where", "summary")
        row["findings"] = [{key: finding[key] for key in keys} for finding in found["findings"]]
        row["overhead"], row["notes"] = found.get("overhead"), found["notes"]
        row["trouble"] = [line for line in row.pop("stderr").splitlines() if line.startswith("longreach: ")]
    return row


def _run(pair: Pair, ill: bool, command: list[str], folder: str) -> dict[str, Any]:
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=TOO_LONG,
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    outcome = lines[-1].split() if lines else []
    if done.returncode or len(outcome) != 3 or outcome[0] != "outcome":
        raise RuntimeError(
            f"{pair.name}: {' '.join(pair.command(ill))} ended with {done.returncode}\n{done.stderr[-2000:]}"
        )
    return {
        "pair": pair.name,
        "fault": pair.fault,
        "fold": pair.fold,
        "ill": ill,
        "command": " ".join(pair.command(ill)),
        "solved": outcome[1] == "solved",
        "score": outcome[2],
        "output": done.stdout,
        "seconds": round(time.perf_counter() - began, 1),
        "stderr": done.stderr,
    }
