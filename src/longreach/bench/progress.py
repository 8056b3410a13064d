"""What `longreach bench` says while it works: on a terminal a bar, and a line for every case that has ended."""

import sys
import threading
from typing import Any, Self

from longreach.bench.cases import Case
from longreach.bench.results import Row


class Progress:
    """The cases of a bench as they end; a context.

    cases, done  in all, and by an earlier call
    quiet        says nothing
    """

    def __init__(self, cases: int, done: int, *, quiet: bool):
        self._cases, self._done, self._quiet = cases, done, quiet
        self._running: dict[str, Case] = {}
        self._lock = threading.Lock()
        self._bar: Any = None

    def __enter__(self) -> Self:
        if not self._quiet and sys.stderr is not None and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (BarColumn(bar_width=20), TextColumn("{task.completed}/{task.total}"), TimeElapsedColumn())
            self._bar = Progress(*columns, TextColumn("{task.description}"), console=Console(stderr=True))
            self._task = self._bar.add_task("", total=self._cases, completed=self._done)
            self._bar.start()
        if self._done:
            self._say(f"{self._done} of {self._cases} are done already")
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

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
        self._say(f"[{self._done}/{self._cases}] {case}: {told(row)}")
        self._draw()

    def _draw(self) -> None:
        if self._bar is not None:
            with self._lock:
                running = next((str(case) for case in self._running.values()), "")
            self._bar.update(self._task, completed=self._done, description=running)

    def _say(self, line: str) -> None:
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        elif not self._quiet and sys.stderr is not None:
            print(line, file=sys.stderr, flush=True)


def told(row: Row) -> str:
    """What became of a case, in half a line."""
    if row.failed:
        return f"{row.outcome}: {row.failed}" + (
            " (the same command runs it again)" if row.outcome == "crashed" else ""
        )
    updates = f"{row.updates or 0:,} {'updates' if row.loss is not None else 'networks'}"
    wrong = f"{row.wrong or 0:.1%} wrong"
    return f"{'solved' if row.solved else 'not solved'}, {wrong}, {updates}, {row.seconds or 0:.0f} s"
