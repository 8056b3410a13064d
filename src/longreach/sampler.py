"""When to look: a few forced samples that a verdict needs, then as many as the time budget pays for."""

import math
import time

# The need test has its power with about so many sequences: they are collected from the first steps on, and once more
# in the second half of the run, wherever it ends. Curves cost more and change slowly; their steps grow by a factor that
# is no whole number, lest of two networks trained in turn always the same one be met.
SEQUENCES, CURVE_SPACING = 512, 1.7
# Of the budget, the part that pays for curves; the rest collects pairs.
CURVES_SHARE = 0.5


class Sampler:
    """Spends at most `budget` of the wall time, forced samples apart, by measuring its own cost.

    A sample of pairs collects inputs and errors; a sample of curves measures gain and signal besides.
    """

    def __init__(self, budget: float):
        self.budget = budget
        self.started = time.perf_counter()
        self.spent = {"pairs": 0.0, "curves": 0.0, "upkeep": 0.0}
        self._cost = {"pairs": 0.0, "curves": 0.0}
        self._collected, self._rows = 0, 1
        self._next = {"pairs": 0, "curves": 0}

    @property
    def total_spent(self) -> float:
        """Seconds spent watching so far."""
        return sum(self.spent.values())

    @property
    def elapsed(self) -> float:
        """Seconds since the watch began."""
        return time.perf_counter() - self.started

    def due(self, step: int) -> str | None:
        """What to take at this step: "curves" (which includes pairs), "pairs" or nothing."""
        for kind in ("curves", "pairs"):
            if step >= self._next[kind] or self._affordable(kind):
                self._plan(kind, step)
                return kind
        return None

    def collected(self, sequences: int) -> None:
        """A sample of pairs has brought so many sequences."""
        self._collected += sequences
        self._rows = max(sequences, 1)

    def charge(self, kind: str, seconds: float) -> None:
        """Book what something has cost."""
        self.spent[kind] += seconds
        if kind in self._cost:
            # a slow average: the first sample of a kind pays for warming up
            known = self._cost[kind]
            self._cost[kind] = seconds if known == 0 else 0.7 * known + 0.3 * seconds

    def can_afford(self, seconds: float) -> bool:
        """Whether the budget has room for so much more."""
        return self.total_spent + seconds <= self.budget * self.elapsed

    def _affordable(self, kind: str) -> bool:
        share = CURVES_SHARE if kind == "curves" else 1 - CURVES_SHARE
        cost = self._cost[kind]
        room = self.spent[kind] + cost <= share * self.budget * self.elapsed
        return cost > 0 and room and self.can_afford(cost)

    def _plan(self, kind: str, step: int) -> None:
        # steps apart by this factor: the second half of any run holds SEQUENCES / rows of them
        spacing = 2 ** (self._rows / SEQUENCES)
        self._next["pairs"] = step + 1 if self._collected < SEQUENCES else max(step + 1, round(step * spacing))
        if kind == "curves":
            self._next["curves"] = 1 + math.floor(step * CURVE_SPACING)
