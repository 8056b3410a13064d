"""What `longreach treat` shows while it works: on a terminal a table that fills up, else a line for every run."""

import math
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from longreach.trial.runs import Result, Runs


class Board:
    """The runs of a trial as they go on; a context.

    seeds  columns
    """

    def __init__(self, seeds: int):
        self._seeds, self._began = seeds, time.monotonic()
        self._ends: dict[str, dict[int, str]] = {}
        self._saying = ""
        self._lock = threading.Lock()
        self._live: Any = None

    def __enter__(self) -> Self:
        if sys.stderr is not None and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), transient=True, refresh_per_second=4)
            self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.__exit__(*error)

    def says(self, what: str) -> None:
        """What is going on."""
        self._saying = what
        if self._live is None:
            self._print(what)

    def begun(self, arm: str, seed: int) -> None:
        """A run goes on."""
        with self._lock:
            self._ends.setdefault(arm, {})[seed] = "…"

    def ended(self, result: "Result") -> None:
        """A run is over."""
        text = "n/a" if result.refused else "failed" if result.failed else f"{result.end:.4g}"
        with self._lock:
            self._ends.setdefault(result.arm, {})[result.seed] = text
        if self._live is None:
            self._print(f"  {result.arm}, seed {result.seed + 1}: {text}{_took(result)}")

    def refresh(self, runs: "Runs") -> None:
        """Draw what goes on, with how far each run is."""
        if self._live is not None:
            self._live.update(self._table(runs))

    def _table(self, runs: "Runs") -> Any:
        from rich.console import Group
        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        table.add_column("")
        for seed in range(self._seeds):
            table.add_column(f"seed {seed + 1}", justify="right")
        with self._lock:
            for arm, ends in self._ends.items():
                cells = [ends.get(seed, "") for seed in range(self._seeds)]
                shown = [runs.progress(arm, seed) if cell == "…" else cell for seed, cell in enumerate(cells)]
                table.add_row(arm, *shown)
        return Group(f"{self._elapsed()}  {self._saying}", table)

    def _elapsed(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        return f"{minutes}:{seconds:02}"

    def _print(self, text: str) -> None:
        if sys.stderr is not None:
            print(text, file=sys.stderr, flush=True)


def _took(result: "Result") -> str:
    return "" if math.isnan(result.wall) or not result.wall else f"   ({result.wall:.0f} s)"
