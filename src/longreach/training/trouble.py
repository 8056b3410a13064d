"""What training throws at a network: steps that are not taken, and the way back where too many are not.

A single bad batch is skipped. Several in a row mean that the weights are where they should not be: they go back to
where they were sound, and on from there in smaller steps.
"""

import math
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from longreach.errors import LongreachError
from longreach.remedies.threshold import Threshold

FAR = 1000.0  # times the usual: a gradient that long comes from a broken batch or broken weights, not from learning
HIGH = 100.0  # times the highest of the first losses
FIRST = 20  # losses that tell what is high; norms after which there is such a thing as usual
IN_A_ROW = 3  # bad steps that are not a bad batch any more
SLOWER = 0.5  # times the step size after going back
MOST_RETURNS = 10  # after which going back is no way forward


class Diverged(LongreachError):
    """Training broke again and again, however small the steps."""


@dataclass(frozen=True)
class Event:
    """A step that was not taken, or a way back.

    step  number of the batch
    """

    step: int
    what: Literal["skipped", "went back"]
    why: str


class Trouble:
    """Judges each step before it is taken. What it goes by is part of a checkpoint.

    clip  longest gradient; None: told by the run's own norms; 0: no limit
    """

    def __init__(self, clip: float | None):
        self._clip, self._rule = clip, Threshold()
        self._losses: list[float] = []
        self._in_a_row = 0
        self.pace = 1.0
        self.events: deque[Event] = deque(maxlen=1000)
        self.skipped = self.returns = 0

    def judge(self, loss: float, length: float) -> str | None:
        """What is wrong with a step, in words; None where it is to be taken. A sound one counts as usual from now on."""
        usual = self._rule.usual
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(length):
            return "the gradient is not finite"
        if len(self._losses) == FIRST and loss > HIGH * max(self._losses):
            return f"the loss is {loss:.3g}, {loss / max(self._losses):.0f} times the highest of the first ones"
        if len(self._losses) == FIRST and length > FAR * usual > 0:
            return f"the gradient is {length:.3g} long, {length / usual:.0f} times the usual"
        if len(self._losses) < FIRST:
            self._losses.append(loss)
        self._in_a_row = 0
        return None

    def shorten(self, parameters: list[Tensor], length: Tensor) -> None:
        """Hold a gradient to the limit."""
        limit = self._rule.limit(float(length))
        if self._clip is not None:
            limit = self._clip or math.inf
        self._rule.adapt(float(length) > limit)
        if math.isfinite(limit):
            nn.utils.clip_grads_with_norm_(parameters, limit, length)

    def skip(self, step: int, why: str) -> bool:
        """A step is not taken; whether it is time to go back."""
        self.skipped += 1
        self._in_a_row += 1
        self.events.append(Event(step, "skipped", why))
        return self._in_a_row >= IN_A_ROW

    def go_back(self, step: int, to: int) -> None:
        """The weights are again as they were before batch `to`; from here on in smaller steps.

        Raises  Diverged where that has been done too often
        """
        self.returns += 1
        self._in_a_row = 0
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
            "losses": self._losses,
            "in_a_row": self._in_a_row,
            "pace": self.pace,
            "skipped": self.skipped,
            "returns": self.returns,
            "events": [asdict(event) for event in self.events],
        }

    def recall(self, facts: dict[str, Any]) -> None:
        """Go on from what `facts` gave."""
        self._rule.recall(facts["rule"])
        self._losses, self._in_a_row, self.pace = facts["losses"], facts["in_a_row"], facts["pace"]
        self.skipped, self.returns = facts["skipped"], facts["returns"]
        self.events = deque((Event(**event) for event in facts["events"]), maxlen=1000)


@torch.no_grad()
def length_of(parameters: list[Tensor]) -> Tensor:
    """The length of the whole gradient, as one vector; 0 without one."""
    return nn.utils.get_total_norm([own.grad for own in parameters if own.grad is not None])
