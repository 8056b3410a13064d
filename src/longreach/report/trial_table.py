"""What `longreach treat` shows while it works: on a terminal a table that fills up, else a line for every run."""

import math
import threading
from typing import TYPE_CHECKING, Self

from longreach.report.live import Live
from longreach.report.sheet import Cell, Sheet
from longreach.report.words import safe

if TYPE_CHECKING:
    from longreach.trial.runs import Result, Runs


class Board:
    """The runs of a trial as they go on; a context.

    seeds  columns
    """

    def __init__(self, seeds: int):
        self._seeds = seeds
        self._ends: dict[str, dict[int, str]] = {}
        self._far: dict[tuple[str, int], str] = {}  # how far the runs are that go on
        self._lock = threading.Lock()
        self._live = Live(below=self._table)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.__exit__()

    def says(self, what: str) -> None:
        """What is going on."""
        self._live.at(0, what)
        if not self._live.is_drawn:
            self._live.said(what)

    def begun(self, arm: str, seed: int) -> None:
        """A run goes on."""
        with self._lock:
            self._ends.setdefault(arm, {})[seed] = "…"

    def ended(self, result: "Result") -> None:
        """A run is over."""
        text = "n/a" if result.refused else "failed" if result.failed else f"{result.end:.4g}"
        with self._lock:
            self._ends.setdefault(result.arm, {})[result.seed] = text
        if not self._live.is_drawn:
            self._live.said(f"  {result.arm}, seed {result.seed + 1}: {text}{_took(result)}")

    def refresh(self, runs: "Runs") -> None:
        """Look how far each run is."""
        if self._live.is_drawn:
            with self._lock:
                going = [(arm, seed) for arm, ends in self._ends.items() for seed, end in ends.items() if end == "…"]
            self._far = {(arm, seed): runs.progress(arm, seed) for arm, seed in going}

    def _table(self, sheet: Sheet) -> None:
        """An arm a row: how each seed ended, or how far it is."""
        with self._lock:
            rows: list[list[Cell]] = [
                [safe(arm), *(self._cell(arm, seed, ends.get(seed, "")) for seed in range(self._seeds))]
                for arm, ends in self._ends.items()
            ]
        if rows:
            sheet.table(("", *(f"seed {seed + 1}" for seed in range(self._seeds))), rows)

    def _cell(self, arm: str, seed: int, end: str) -> Cell:
        return (self._far.get((arm, seed), end), "label") if end == "…" else end


def _took(result: "Result") -> str:
    return "" if math.isnan(result.wall) or not result.wall else f"   ({result.wall:.0f} s)"
