"""One case, in a process of its own: the script as it is under the spy, watched, or launched by `longreach run`."""

import contextlib
import io
import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from benchmarks.clinic.cases import Pair
from benchmarks.clinic.published import judge

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KEYS = ("name", "severity", "where", "summary")  # what is kept of a finding


def plain(pair: Pair, ill: bool) -> dict[str, Any]:
    """The run without longreach: its outcome, its output, and what the published rules say."""
    from benchmarks.clinic.spy import Spy  # imports torch, which the process that hands out the cases does not need

    spy = Spy()
    row = _in_this_process(pair, ill, lambda: spy)
    return row | {"published": judge(spy.diary)}


def watched(pair: Pair, ill: bool) -> dict[str, Any]:
    """The run under the watch that `longreach run` attaches, and the findings.

    What differs from `longreach run`: torch is warm already, so that a case takes a second or two less.
    """
    from longreach import launch
    from longreach.diagnosis.finding import Finding
    from longreach.store import Store
    from longreach.watching import Watch

    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder) / "run")
        with contextlib.redirect_stderr(io.StringIO()) as stderr:
            row = _in_this_process(pair, ill, lambda: Watch(store=store))
        store.close()
        began = time.perf_counter()
        diagnosis = launch.diagnose_run(Path(folder) / "run")

    def kept(finding: Finding) -> dict[str, Any]:
        return {key: getattr(finding, key) for key in KEYS} | {"evidence": str(finding.evidence)}

    record = diagnosis.record
    return row | {
        "findings": [kept(finding) for finding in diagnosis.findings],
        "judging": round(time.perf_counter() - began, 2),
        "overhead": record.overhead,
        "notes": list(record.notes),
        "trouble": _trouble(stderr.getvalue()),
    }


def launched(pair: Pair, ill: bool) -> dict[str, Any]:
    """The same by the command `longreach run`."""
    script, *arguments = pair.command(ill)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "longreach", "run", "--run-dir", run, HERE / "scripts" / script, *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"ended with {done.returncode}\n{done.stderr[-2000:]}")
        row = _row(pair, ill, done.stdout, began)
        report = json.loads((run / "diagnosis.json").read_text())
    return row | {
        "findings": [
            {key: finding[key] for key in KEYS} | {"evidence": str(finding["evidence"])}
            for finding in report["findings"]
        ],
        "overhead": report["overhead"],
        "notes": report["notes"],
        "trouble": _trouble(done.stderr),
    }


def _in_this_process(pair: Pair, ill: bool, witness: Callable[[], AbstractContextManager]) -> dict[str, Any]:
    script, *arguments = pair.command(ill)
    path = HERE / "scripts" / script
    sys.argv = [str(path), *arguments]
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()) as output, witness():
        runpy.run_path(str(path), run_name="__main__")
    return _row(pair, ill, output.getvalue(), began)


def _row(pair: Pair, ill: bool, output: str, began: float) -> dict[str, Any]:
    outcome, verdict, score = output.strip().splitlines()[-1].split()
    if outcome != "outcome":
        raise RuntimeError(f"expected a last line like 'outcome solved 0.983', got {output[-100:]!r}")
    return {
        "pair": pair.name,
        "fault": pair.fault,
        "fold": pair.fold,
        "ill": ill,
        "command": " ".join(pair.command(ill)),
        "source": source(pair.command(ill)[0]),
        "solved": verdict == "solved",
        "score": score,
        "output": output,
        "seconds": round(time.perf_counter() - began, 1),
    }


def source(script: str) -> int:
    """A number that changes with the script's text."""
    return zlib.crc32((HERE / "scripts" / script).read_bytes())


def _trouble(stderr: str) -> list[str]:
    """What the watch complained of."""
    return [line for line in stderr.splitlines() if line.startswith("longreach: ")]
