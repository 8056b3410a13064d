"""When to look: as a verdict needs it, within an advance on the budget of a minute; then as the time budget allows."""

import math
import time

from longreach.errors import ArgumentError

# The need test has its power with about so many sequences: they are collected from the first steps on, and once more
# in the second half of the run, wherever it ends. Curves cost more and change slowly; their steps grow by a factor that
# is no whole number, lest of two networks trained in turn always the same one be met.
SEQUENCES, CURVE_SPACING = 512, 1.7
# Where there are no sequences, units, weights and updates are looked at in steps that grow by this factor.
PLAIN_SPACING = 1.3
# Of the budget, the part that pays for curves; the rest collects pairs.
CURVES_SHARE = 0.5
# A run of a minute keeps to its budget. Until then it may spend that minute's budget in advance: this part of it at
# once, the rest with the square root of time, so that there is something left wherever the run ends.
MINUTE, AT_ONCE = 60.0, 0.25


def check_budget(budget: float) -> float:
    """A share of the wall time, if it is one. Raises ArgumentError."""
    if not 0 < budget <= 1:
        raise ArgumentError(f"budget: expected a share of the wall time in (0, 1], got {budget}; the default is 0.02")
    return budget


class Sampler:
    """Spends at most `budget` of the wall time of a run of a minute or more, by measuring its own cost.

    A sample of pairs collects inputs and errors; a sample of curves measures gain and signal besides. The first sample
    is taken whatever it costs.

    sequences  how many to collect from the first steps on, and again in the second half of the run
    together  this is one of several processes of one training, whose clocks differ: curves are taken at the same steps
              in all of them, so many as the logarithm of the steps allows, whatever they cost
    """

    def __init__(self, budget: float, *, together: bool = False, sequences: int = SEQUENCES):
        self.budget, self.together, self.sequences = budget, together, sequences
        self.started = time.perf_counter()
        self.spent = {"pairs": 0.0, "curves": 0.0, "upkeep": 0.0}
        self._cost = {"pairs": 0.0, "curves": 0.0}
        self._collected, self._rows = 0, 1
        self._usual = 0.0  # seconds of a step that is not sampled
        self._doubtful: list[tuple[str, float, float]] = []  # sampled steps, until it is known what is usual
        self._next = {"pairs": 0, "curves": 0}

    @property
    def total_spent(self) -> float:
        """Seconds spent watching so far."""
        return sum(self.spent.values())

    @property
    def elapsed(self) -> float:
        """Seconds since the watch began."""
        return time.perf_counter() - self.started

    def due(self, step: int, *, fruitful: bool = True, company: bool = False) -> str | None:
        """What to take at this step: "curves" (which includes pairs), "pairs" or nothing.

        fruitful  whether there are any pairs to be had: else such a sample is taken more rarely, for what else it shows
        company   whether the step before was sampled and is worth more together with this one
        """
        for kind in ("curves", "pairs"):
            planned = step >= self._next[kind]
            if self.together and kind == "curves":
                due = planned
            else:
                due = (planned and self._advanced(kind)) or self._affordable(kind)
            if due:
                self._plan(kind, step, fruitful)
                return kind
        return "pairs" if company and not self.together and self._advanced("pairs") else None

    def collected(self, sequences: int) -> None:
        """A sample of pairs has brought so many sequences."""
        self._collected += sequences
        self._rows = sequences or self._rows  # a step may only hold back what a later one brings

    def step_took(self, seconds: float, kind: str | None, booked: float = 0.0) -> None:
        """A step is over; of a sampled one, `booked` seconds are known to be ours.

        What it took beyond that and beyond the usual is ours too, as far as it can be told from an evaluation that ran
        in between: at most as much again.
        """
        if kind is not None:
            self.charge(kind, booked)
            self._doubtful.append((kind, seconds - booked, booked))
        else:
            self._usual = seconds if self._usual == 0 else 0.9 * self._usual + 0.1 * min(seconds, 3 * self._usual)
        if self._usual:
            for sampled, rest, known in self._doubtful:
                hidden = min(max(rest - self._usual, 0.0), known)
                self.spent[sampled] += hidden
                self._cost[sampled] = max(self._cost[sampled], known + hidden)
            self._doubtful = []

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

    def _advanced(self, kind: str) -> bool:
        elapsed = self.elapsed
        if elapsed >= MINUTE:
            return self._fits(kind, elapsed)
        # the first sample may have cost more than its share: the other kind keeps its own
        advance = AT_ONCE * MINUTE + (1 - AT_ONCE) * math.sqrt(MINUTE * elapsed)
        return self.total_spent == 0 or self._fits_its_share(kind, advance)

    def _affordable(self, kind: str) -> bool:
        return self._cost[kind] > 0 and self._fits(kind, self.elapsed)

    def _fits(self, kind: str, seconds: float) -> bool:
        """Whether the budget of so many seconds has room for one more sample, and this kind's part of it too."""
        return self.total_spent + self._cost[kind] <= self.budget * seconds and self._fits_its_share(kind, seconds)

    def _fits_its_share(self, kind: str, seconds: float) -> bool:
        share = CURVES_SHARE if kind == "curves" else 1 - CURVES_SHARE
        return self.spent[kind] + self._cost[kind] <= share * self.budget * seconds

    def _plan(self, kind: str, step: int, fruitful: bool) -> None:
        # steps apart by this factor: the second half of any run holds sequences / rows of them
        spacing = 2 ** (self._rows / self.sequences) if fruitful else PLAIN_SPACING
        wanting = fruitful and self._collected < self.sequences
        self._next["pairs"] = step + 1 if wanting else max(step + 1, round(step * spacing))
        if kind == "curves":
            self._next["curves"] = 1 + math.floor(step * CURVE_SPACING)
