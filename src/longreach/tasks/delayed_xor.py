"""Delayed XOR: whether two far bits differ. Neither of them alone tells anything."""

from dataclasses import dataclass
from math import log
from typing import ClassVar

import torch
from jaxtyping import Bool
from torch import Tensor

from longreach.batch import Batch
from longreach.tasks.task import Choosing


@dataclass(frozen=True)
class DelayedXOR(Choosing):
    """Random bits; at every step t, yₜ = xₜ₋d XOR xₜ₋₂d.

    length      steps T, 300 in the source
    delay       d, 10 in the source
    asked       from step 2d on, where both bits were seen. The source's code asks from d on
    bits        0 and 1, each with the same chance; y has two classes
    chance      ln 2 nats. Every single input is independent of y: pairwise mutual information is exactly 0 at every lag
    wrong       where one asked step or more is wrong; the source has no such rule
    Is not      seen by a test that looks at one lag at a time, such as need: see deep
    Source      Engelken 2023, arXiv 2312.17306 (gradient flossing), the example of its code: task -1
    """

    delay: int = 10

    name: ClassVar[str] = "delayed-xor"
    source: ClassVar[str] = "Engelken 2023, gradient flossing, NeurIPS 2023"
    criterion: ClassVar[str] = "all steps right in more than 99 % of sequences (the source has curves alone)"

    def __post_init__(self):
        self._expect("delay", self.delay >= 1, "at least 1 step")
        self._expect("length", self.length > 2 * self.delay, f"more than twice the delay, {2 * self.delay}")

    @property
    def inputs(self) -> int:
        """A bit."""
        return 1

    @property
    def outputs(self) -> int:
        """Alike or not."""
        return 2

    @property
    def chance(self) -> float:
        """Cross-entropy of one half for each."""
        return log(2)

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """Bits, and an answer from step 2d on."""
        bits = torch.randint(2, (count, self.length), generator=generator)
        later, earlier = bits[:, self.delay : -self.delay], bits[:, : -2 * self.delay]
        return Batch(bits[..., None].float(), (later ^ earlier).flatten(), self._asked(count))

    def _asked(self, count: int) -> Bool[Tensor, "sequence time"]:
        return (torch.arange(self.length) >= 2 * self.delay).repeat(count, 1)
