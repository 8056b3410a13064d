"""The cases of a bench on the cores of this machine."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from longreach.bench.cases import Case
from longreach.bench.process import WORK, Processes
from longreach.bench.results import Row


def on_cores(
    cases: Sequence[Case],
    folder: Path,
    *,
    jobs: int | None = None,
    begun: Callable[[Case], None] = lambda case: None,
    work: Sequence[str] = WORK,
) -> Iterator[tuple[Case, Row]]:
    """Each case with its row, as they end.

    folder  a case has its own in runs/
    jobs    cases at a time; None: one a core. Each has its share of the cores as threads
    begun   told of every case as it begins
    Ends    what runs, where the caller asks for no more
    """
    count = cores()
    jobs = min(jobs or count, max(1, len(cases)))
    processes = Processes(max(1, count // jobs), work)

    def run(case: Case) -> Row:
        begun(case)
        return processes.run(case, folder / "runs" / case.name)

    pool = ThreadPoolExecutor(jobs)
    try:
        asked = {pool.submit(run, case): case for case in cases}
        for done in as_completed(asked):
            yield asked[done], done.result()
    finally:
        processes.stop()
        pool.shutdown(wait=True, cancel_futures=True)


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
