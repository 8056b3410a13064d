"""What `longreach bench` says while it works: on a terminal a bar, and a line for every case that has ended."""

import threading
from typing import Self

from longreach.bench.cases import Case
from longreach.bench.results import Row
from longreach.report.live import Live


class Progress:
    """The cases of a bench as they end; a context.

    cases, done  in all, and by an earlier call
    quiet        says nothing
    """

    def __init__(self, cases: int, done: int, *, quiet: bool):
        self._cases, self._done = cases, done
        self._running: dict[str, Case] = {}
        self._lock = threading.Lock()
        self._live = Live(cases, done=done, quiet=quiet)

    def __enter__(self) -> Self:
        self._live.__enter__()
        if self._done:
            self._live.said(f"{self._done} of {self._cases} are done already")
        return self

    def __exit__(self, *error: object) -> None:
        self._live.__exit__()

    def begun(self, case: Case) -> None:
        """A case runs."""
        with self._lock:
            self._running[case.name] = case
        self._draw()

    def ended(self, case: Case, row: Row) -> None:
        """A case has its row."""
        with self._lock:
            self._running.pop(case.name, None)
            self._done += 1
        self._live.said(f"[{self._done}/{self._cases}] {case}: {told(row)}")
        self._draw()

    def _draw(self) -> None:
        with self._lock:
            running = next((str(case) for case in self._running.values()), "")
        self._live.at(self._done, running)


def told(row: Row) -> str:
    """What became of a case, in half a line."""
    if row.failed:
        return f"{row.outcome}: {row.failed}" + (
            " (the same command runs it again)" if row.outcome == "crashed" else ""
        )
    updates = f"{row.updates or 0:,} {'updates' if row.loss is not None else 'networks'}"
    wrong = f"{row.wrong or 0:.1%} wrong"
    return f"{'solved' if row.solved else 'not solved'}, {wrong}, {updates}, {row.seconds or 0:.0f} s"
