"""What the rows of one course at one length come to: how often it solved the task, and at what cost."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, sqrt
from statistics import median

from longreach.bench.results import Row

Z = 1.959964  # of a normal distribution: 95 % lie within ±Z


@dataclass(frozen=True)
class Success:
    """Rows that differ in their seeds alone.

    runs      that count: those that ended or diverged
    interval  of the chance to solve the task: Wilson's, 95 %
    updates, seconds  medians of the runs that solved it; None without one
    wrong, loss       medians of all runs that came to their end
    failures  reasons, each once
    """

    task: str
    variant: str
    length: int
    cell: str
    remedies: str
    solved: int
    runs: int
    updates: float | None
    seconds: float | None
    wrong: float | None
    loss: float | None
    failures: tuple[str, ...]

    @property
    def interval(self) -> tuple[float, float]:
        """From where to where the chance to solve the task lies."""
        return wilson(self.solved, self.runs)

    @property
    def share(self) -> float:
        """That solved it; 0 where nothing ran."""
        return self.solved / self.runs if self.runs else 0.0


def wilson(solved: int, runs: int) -> tuple[float, float]:
    """Wilson's interval of a share, at 95 %.

        (p + z²/2n ± z √(p (1 - p)/n + z²/4n²)) / (1 + z²/n),  p = solved/runs, n = runs

    Source  Wilson 1927. It holds for few runs too, and says something of 0 of n and n of n
    """
    if not runs:
        return 0.0, 1.0
    p, n = solved / runs, runs
    middle, half = p + Z**2 / (2 * n), Z * sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    whole = 1 + Z**2 / n
    return max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)


def successes(rows: Iterable[Row]) -> list[Success]:
    """One for each task, length and course; the best first, at equal success the quicker, then the lower loss."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        groups.setdefault((row.task, row.variant, row.length, row.cell, row.remedies), []).append(row)
    return sorted((_success(group) for group in groups.values()), key=_rank)


def _success(rows: list[Row]) -> Success:
    first, counted = rows[0], [row for row in rows if row.outcome in ("ended", "diverged")]
    won = [row for row in counted if row.solved]
    return Success(
        first.task,
        first.variant,
        first.length,
        first.cell,
        first.remedies,
        solved=len(won),
        runs=len(counted),
        updates=_median(row.updates for row in won),
        seconds=_median(row.seconds for row in won),
        wrong=_median(row.wrong for row in counted),
        loss=_median(row.loss for row in counted),
        failures=tuple(dict.fromkeys(f"{row.outcome}: {row.failed}" for row in rows if row.failed)),
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _rank(one: Success) -> tuple:
    loss, seconds = (inf if value is None else value for value in (one.loss, one.seconds))
    return (one.task, one.variant, one.length, not one.runs, -one.share, seconds, loss, one.cell, one.remedies)
