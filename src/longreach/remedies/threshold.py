"""How long a gradient may be, told by the run's own norms (after Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063)."""

import math
import statistics
from collections import deque
from typing import Any

MEMORY = 256  # norms that are kept
MOST, LEAST = 10.0, 0.5  # times the usual norm: the range that Pascanu et al. found to work
DOWN, UP = 0.7, 1.02  # one step within a burst is taken back by 18 calm ones


class Threshold:
    """c times the median of the latest 256 norms.

    c starts at 10. Each step of a burst, a gradient over the threshold right after another one, takes 30 % off it, down
    to 0.5; each calm one gives 2 % back.
    """

    def __init__(self) -> None:
        self._times, self._was_over = MOST, False
        self._norms: deque[float] = deque(maxlen=MEMORY)

    @property
    def usual(self) -> float:
        """The median of the latest norms; 0 before the first."""
        return statistics.median(self._norms) if self._norms else 0.0

    def limit(self, length: float) -> float:
        """For a gradient of this length, which counts from now on."""
        self._norms.append(length)
        return self._times * self.usual or math.inf  # where most are zero nothing is usual

    def adapt(self, is_over: bool) -> None:
        """To whether the gradient was longer than what it was held to."""
        if not is_over:
            self._times = min(MOST, self._times * UP)
        elif self._was_over:
            self._times = max(LEAST, self._times * DOWN)
        self._was_over = is_over

    def facts(self) -> dict[str, Any]:
        """All that it goes by, as plain JSON."""
        return {"times": self._times, "was_over": self._was_over, "norms": list(self._norms)}

    def recall(self, facts: dict[str, Any]) -> None:
        """Go on from what `facts` gave."""
        self._times, self._was_over = facts["times"], facts["was_over"]
        self._norms = deque(facts["norms"], maxlen=MEMORY)
