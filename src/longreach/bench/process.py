"""A case in a process of its own: what breaks there breaks nothing else."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from longreach.bench.cases import Case
from longreach.bench.results import Row
from longreach.bench.work import FACTS, Orders
from longreach.interpreter import die_with, interpreter_flags

WORK = ("-P", "-m", "longreach.bench.work")  # -P: what lies in the working folder takes no module's name
ERRORS = "errors.txt"


class Processes:
    """Those that run now; `stop` ends them.

    work     what follows the interpreter; the orders come after it
    threads  of each
    """

    def __init__(self, threads: int, work: Sequence[str] = WORK):
        self._threads, self._work = threads, work
        self._alive: set[subprocess.Popen] = set()
        self._over, self._lock = False, threading.Lock()

    def run(self, case: Case, folder: Path) -> Row:
        """Run a case in a folder, which is emptied before; waits for it.

        Row      "crashed" where the process left nothing behind
        Raises   OSError where the folder cannot be written
        """
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with (folder / ERRORS).open("wb") as errors:
            process = self._begin(case, folder, errors)
            code = process.wait()
        self._alive.discard(process)
        try:
            return Row.of(case, **json.loads((folder / FACTS).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError):
            return Row.of(case, failed=_complaint(folder, code))

    def stop(self) -> None:
        """End what runs, and begin nothing more."""
        with self._lock:
            self._over = True
            for process in list(self._alive):
                process.kill()

    def _begin(self, case: Case, folder: Path, errors: object) -> subprocess.Popen:
        count = str(self._threads)
        with self._lock:
            process = subprocess.Popen(
                [sys.executable, *interpreter_flags(), *self._work, json.dumps(asdict(Orders.of(case, folder)))],
                env={**os.environ, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count},
                stdin=subprocess.DEVNULL,
                stdout=errors,  # type: ignore[arg-type]
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us: we end them
                preexec_fn=die_with(os.getpid()),
            )
            self._alive.add(process)
            if self._over:
                process.kill()
        return process


def _complaint(folder: Path, code: int) -> str:
    """Why a process left nothing behind: the signal that ended it, or the last line that it wrote."""
    if code < 0:
        return f"it was killed by signal {-code}"
    lines = (folder / ERRORS).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip()[:300] if lines else f"it ended with exit code {code}"
