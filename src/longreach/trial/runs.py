"""One run of a script in a process of its own, under watch, and what is kept of it."""

import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from longreach import child
from longreach.child import Orders
from longreach.conclude import late_curves
from longreach.errors import RunReadError
from longreach.interpreter import die_with, interpreter_flags
from longreach.plain import build, plain
from longreach.probes import reach
from longreach.store import Store
from longreach.trial import copies
from longreach.trial.metric import Metric, end_of
from longreach.trial.proof import thinned

CONTROL = "control"
RESULT = "result.json"
FIRST = 40  # steps whose losses are kept one by one


@dataclass(frozen=True)
class Script:
    """What is run, and how, apart from remedy and seed.

    command     what follows the interpreter: script and arguments, or -m, module and arguments
    launches    the script starts the processes that train (torchrun)
    home        the working folder; every run gets a copy of it, unless `in_place`
    stdin       a file with what the script shall read, or None for nothing
    steps       runs end after so many optimizer steps, or when the script does
    metric      the number that is compared
    threads     for torch, in every run
    """

    command: tuple[str, ...]
    launches: bool
    home: Path
    in_place: bool
    stdin: Path | None
    steps: int
    metric: Metric
    threads: int


@dataclass(frozen=True)
class Result:
    """What is kept of a run.

    arm      remedies, "a+b", or "control"
    seed     number of the trial
    steps    optimizer steps taken
    end      the metric at the end; NaN where there is none
    losses   the loss over the run, thinned
    first    the losses of the first steps, every one of them
    seconds  in the training loop
    wall     from the start of the process to its end, seconds
    memory   largest resident memory; MiB
    reach    of the recurrent layer that reaches furthest, steps; None where none was measured
    failed   why the run says nothing, in a sentence; None if it ran
    refused  the remedy does not fit the script: its own words
    made     file and line where the script makes its optimizer
    """

    arm: str
    seed: int
    steps: int
    end: float
    losses: tuple[float, ...]
    first: tuple[float, ...]
    seconds: float
    wall: float
    memory: float
    reach: int | None
    failed: str | None
    refused: str | None
    made_file: str | None
    made_line: int | None

    def save(self, folder: Path) -> None:
        """Whole or not at all."""
        part = folder / f"{RESULT}.part"
        part.write_text(json.dumps(plain(self)), encoding="utf-8")
        part.replace(folder / RESULT)

    @classmethod
    def load(cls, folder: Path) -> "Result | None":
        """What an earlier trial kept; None if the run did not end."""
        try:
            return build(cls, json.loads((folder / RESULT).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError):
            return None


class Interrupted(Exception):
    """The trial ends here: runs that go on were killed."""


class Runs:
    """Runs of one script, kept in a folder; what is there already is not run again.

    folder   of the trial: runs/ARM/seed-N/
    """

    def __init__(self, script: Script, folder: Path):
        self.script, self.folder = script, folder
        self.patience = math.inf  # seconds that a run may take
        self._alive: set[subprocess.Popen] = set()
        self._over = False

    def at(self, arm: str, seed: int) -> Path:
        """The run's folder."""
        return self.folder / "runs" / arm / f"seed-{seed}"

    def run(
        self,
        arm: str,
        seed: int,
        *,
        budget: float = 0.005,
        steps: int | None = None,
        change: tuple[Path, str] | None = None,
    ) -> Result:
        """A run of the script with the remedies of `arm` and the seeds of trial number `seed`.

        budget  share of the wall time that watching may take
        steps   of this run, where they differ from those of the others; its arm then needs a name of its own
        change  a file of the working folder, and the text that it has in this run

        Raises  Interrupted after `stop`
        """
        place = self.at(arm, seed)
        kept = Result.load(place)
        if kept is not None:
            return kept
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        names = () if arm.startswith(CONTROL) else tuple(arm.split("+"))
        orders = Orders(str(place), budget, apply=names, seed=seed, steps=steps or self.script.steps)
        result = self._result(arm, seed, place, self._process(orders, place, change))
        result.save(place)
        return result

    def forecast(self, courses: Sequence[str]) -> dict[str, "Result"]:
        """Every course for one watched step, in copies of one process: its reach at the start."""
        place = self.folder / "forecast"
        if not (place / RESULT).is_file():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            self._process(Orders(str(place), 1.0, seed=0, steps=1, forecasts=tuple(courses)), place)
            for name in courses:
                if not (place / name).is_dir():  # it could not fork
                    (place / name).mkdir()
                    orders = Orders(str(place / name), 1.0, apply=tuple(name.split("+")), seed=0, steps=1)
                    self._process(orders, place / name)
            (place / RESULT).write_text("{}")
        nothing = _Ended(0, 0.0, 0.0)
        return {name: self._result(name, 0, place / name, nothing) for name in courses if (place / name).is_dir()}

    def progress(self, arm: str, seed: int) -> str:
        """How far a run is that goes on: "40%"."""
        try:
            store = Store.open(self.at(arm, seed))
        except (RunReadError, OSError):
            return "…"
        try:
            return f"{100 * int(store.meta().get('steps', 0)) / self.script.steps:.0f}%"
        finally:
            store.close()

    def stop(self) -> None:
        """Kill what runs, and start nothing more."""
        self._over = True
        for process in list(self._alive):
            process.kill()

    # One process.

    def _process(self, orders: Orders, place: Path, change: tuple[Path, str] | None = None) -> "_Ended":
        script = self.script
        home = script.home if script.in_place else place / "files"
        if not script.in_place:
            copies.copy(script.home, home)
        if change is not None:
            (home / change[0]).write_text(change[1], encoding="utf-8")
        environment = child.environment(orders, launches=script.launches)
        environment = {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": str(script.threads), **environment}
        began = time.perf_counter()
        with (
            (place / "output.txt").open("wb") as output,
            (place / "errors.txt").open("wb") as errors,
            (script.stdin or Path(os.devnull)).open("rb") as given,
        ):
            if self._over:
                raise Interrupted
            process = subprocess.Popen(
                [sys.executable, *interpreter_flags(), *script.command],
                env=environment,
                cwd=home,
                stdin=given,
                stdout=output,
                stderr=errors,
                start_new_session=True,  # Ctrl-C is for us: we end them
                preexec_fn=die_with(os.getpid()),
            )
            self._alive.add(process)
            ended = self._wait(process, began)
        if not script.in_place:
            shutil.rmtree(home, ignore_errors=True)
        if self._over:
            raise Interrupted
        return ended

    def _wait(self, process: subprocess.Popen, began: float) -> "_Ended":
        try:
            while True:
                found, status, used = os.wait4(process.pid, os.WNOHANG)
                if found:
                    break
                if time.perf_counter() - began > self.patience:
                    process.kill()
                time.sleep(0.02)
        finally:
            self._alive.discard(process)
        process.returncode = os.waitstatus_to_exitcode(status)
        return _Ended(process.returncode, time.perf_counter() - began, used.ru_maxrss / 1024)

    def _result(self, arm: str, seed: int, place: Path, ended: "_Ended") -> Result:
        empty = Result(arm, seed, 0, math.nan, (), (), 0.0, ended.wall, ended.memory, None, None, None, None, None)
        try:
            store = Store.open(place)
        except RunReadError:
            return replace(empty, failed=_complaint(place, ended.code) or "it never imported torch")
        try:
            meta, losses, curves = store.meta(), store.losses(), store.curves()
        finally:
            store.close()
        steps = int(meta.get("steps", 0))
        pooled = [reach.pool(late_curves(found)) for found in curves.values()]
        file, line = meta.get("made") or (None, None)
        result = replace(
            empty,
            steps=steps,
            losses=thinned([value for _, value in losses]),
            first=tuple(value for step, value in losses[:FIRST] if step < FIRST),
            seconds=float(meta.get("seconds", 0.0)) - float(meta.get("spent", 0.0)),
            reach=max((one.lag for one in pooled if one is not None), default=None),
            refused=meta.get("refused"),
            made_file=file,
            made_line=line,
        )
        complete = steps >= self.script.steps or ended.code == 0
        if not complete or steps == 0:
            why = _complaint(place, ended.code) or "no optimizer step was seen"
            return replace(result, failed=why if ended.wall < self.patience else "it took too long")
        return replace(result, end=self._end(losses, steps, place))

    def _end(self, losses: list[tuple[int, float]], steps: int, place: Path) -> float:
        if self.script.metric.name == "loss":
            return end_of(losses, steps)
        found = self.script.metric.read(place / "output.txt", place / "errors.txt")
        return found[-1] if found else math.nan


@dataclass(frozen=True)
class _Ended:
    """How a process ended: its exit code, seconds, and MiB."""

    code: int
    wall: float
    memory: float


def _complaint(place: Path, code: int) -> str | None:
    """The last line that a failing script wrote to stderr; None for one that did not fail."""
    if code == 0:
        return None
    if code < 0:
        return f"it was killed by signal {-code}"
    lines = (place / "errors.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip()[:300] if lines else f"it ended with exit code {code}"
