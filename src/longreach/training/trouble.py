"""What training throws at a network: steps that are not taken, and the way back where too many are not.

A single bad batch is skipped. Several in a row mean that the weights are where they should not be: they go back to
where they were sound, and on from there in smaller steps. Unless they can take what they took before: then it is the
data that are broken.
"""

import math
import statistics
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from longreach.errors import LongreachError
from longreach.remedies.threshold import Threshold

FAR = 1e6  # times the usual length, or size of a state: from a broken batch or broken weights. Below, clipping will do
HIGH = 100.0  # times the usual one of the first losses
LONGEST = 1e15  # of a gradient, whatever is usual: Adam keeps its square in 32 bits
FIRST = 20  # steps that tell what is usual at the beginning
FEW = 3  # of them that tell something
IN_A_ROW = 3  # bad steps that are not a bad batch any more
SLOWER = 0.5  # times the step size after going back
MOST_RETURNS = 10  # after which going back is no way forward
MOST_IN_A_ROW = 100  # bad steps after which the data are no data


class Diverged(LongreachError):
    """Training broke again and again, however small the steps."""


@dataclass(frozen=True)
class Event:
    """A step that was not taken, or a way back.

    step  that it happened at, counted as in metrics.csv: 1 is the first
    """

    step: int
    what: Literal["skipped", "went back"]
    why: str


class Trouble:
    """Judges each step before it is taken. What it goes by is part of a checkpoint.

    clip              longest gradient; None: told by the run's own norms; 0: no limit
    pace              share of the step size that is left
    skipped, returns  how often
    """

    def __init__(self, clip: float | None):
        self._clip, self._rule = clip, Threshold()
        self._losses: list[float] = []
        self._lengths: list[float] = []
        self._widest = 0.0
        self._in_a_row = 0
        self.pace = 1.0
        self.events: deque[Event] = deque(maxlen=1000)
        self.skipped = self.returns = 0

    def judge(self, loss: float, length: float, width: float) -> str | None:
        """What is wrong with a step, in words; None where it is to be taken. A sound one counts as usual from now on.

        length  of the gradient
        width   the largest number in the state that is carried on; 0 without one
        """
        why = self.complaint(loss, length, width)
        if why is None:
            if len(self._losses) < FIRST:
                self._losses.append(abs(loss))
                self._lengths.append(length)
            self._widest = max(self._widest, width)
            self._in_a_row = 0
        return why

    def complaint(self, loss: float, length: float, width: float) -> str | None:
        """As `judge`, but nothing counts."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(length):
            return "the gradient is not finite"
        if not math.isfinite(width):
            return "the state to carry on is not finite"
        if length > LONGEST:
            return f"the gradient is {length:.3g} long"
        if len(self._losses) < FEW:
            return None
        high = statistics.median(self._losses)
        if loss > HIGH * high > 0:
            return f"the loss is {loss:.3g}, {loss / high:.3g} times the usual of the first ones"
        long = statistics.median(self._lengths)
        if length > FAR * max(long, self._rule.usual if length > FAR * long else 0) > 0:
            return f"the gradient is {length:.3g} long, {length / max(long, self._rule.usual):.3g} times the usual"
        if width > FAR * self._widest > 0:
            return f"the state to carry on grew to {width:.3g}, from {self._widest:.3g}"
        return None

    def shorten(self, parameters: list[Tensor], length: Tensor) -> None:
        """Hold a gradient to the limit."""
        limit = self._rule.limit(length.item())
        if self._clip is not None:
            limit = self._clip or math.inf
        self._rule.adapt(length.item() > limit)
        if math.isfinite(limit):
            nn.utils.clip_grads_with_norm_(parameters, limit, length)

    def skip(self, step: int, why: str) -> bool:
        """A step is not taken; whether it is time to look at the weights.

        Raises  Diverged where nothing could be learned from for too long
        """
        self.skipped += 1
        self._in_a_row += 1
        self.events.append(Event(step, "skipped", why))
        if self._in_a_row >= MOST_IN_A_ROW:
            raise Diverged(
                f"{self._in_a_row} batches in a row could not be learned from, the last one at step {step}: {why}. "
                "Expected data that are finite and of one scale; look at the data around that batch"
            )
        return self._in_a_row == IN_A_ROW

    def go_back(self, step: int, to: int) -> None:
        """The weights are again as they were before step `to` + 1; from here on in smaller steps.

        Raises  Diverged where that has been done too often
        """
        self.returns += 1
        self.pace *= SLOWER
        self.events.append(Event(step, "went back", f"to step {to}; steps are {self.pace:.3g} of their size from here"))
        if self.returns > MOST_RETURNS:
            raise Diverged(
                f"training broke {self.returns} times, the last time at step {step}: {self.events[-2].why}. Expected "
                "data and a step size that a network can follow; look at the data around that batch, or try --lr "
                "ten times smaller"
            )

    def facts(self) -> dict[str, Any]:
        """All that it goes by, as plain JSON."""
        return {
            "rule": self._rule.facts(),
            "losses": list(self._losses),
            "lengths": list(self._lengths),
            "widest": self._widest,
            "in_a_row": self._in_a_row,
            "pace": self.pace,
            "skipped": self.skipped,
            "returns": self.returns,
            "events": [asdict(event) for event in self.events],
        }

    def recall(self, facts: dict[str, Any]) -> None:
        """Go on from what `facts` gave."""
        self._rule.recall(facts["rule"])
        self._losses, self._lengths, self._widest = list(facts["losses"]), list(facts["lengths"]), facts["widest"]
        self._in_a_row, self.pace = facts["in_a_row"], facts["pace"]
        self.skipped, self.returns = facts["skipped"], facts["returns"]
        self.events = deque((Event(**event) for event in facts["events"]), maxlen=1000)


@torch.no_grad()
def length_of(parameters: list[Tensor]) -> Tensor:
    """The length of the whole gradient, as one vector; 0 without one."""
    return nn.utils.get_total_norm([own.grad for own in parameters if own.grad is not None])
