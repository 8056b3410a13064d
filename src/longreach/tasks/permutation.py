"""Random permutation: the first of many random symbols comes back as the last."""

from dataclasses import dataclass
from math import log
from typing import ClassVar

import torch
from torch.nn import functional as F

from longreach.batch import Batch
from longreach.tasks.drawing import at, integers
from longreach.tasks.task import Choosing, Published


@dataclass(frozen=True)
class Permutation(Choosing):
    """Symbols of {0, ..., 99}: the first is 0 or 1, all others are random of {2, ..., 99}; which one ends the sequence?

        x = s₀, ..., s of length L, one-hot over 100 lines;  y = s₀, asked at the last step, out of 100 classes

    length      L steps seen: the answer is the symbol that the source puts behind them
    chance      ln 2 nats: one of two, the other 98 never are the answer. Equal scores for all 100 cost ln 100
    Is not      a permutation of anything: symbols may come twice; the name is the source's
    Source      Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, and their code, after Hochreiter & Schmidhuber 1997,
                experiment 2b. arXiv version 2 tells of 1 of 8 seeds (second-hand)
    """

    name: ClassVar[str] = "permutation"
    source: ClassVar[str] = "Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063"
    criterion: ClassVar[str] = "fewer than 1 % of sequences wrong; the source counts seeds"
    published: ClassVar[tuple[Published, ...]] = (
        Published(
            "Pascanu et al. 2013", "RNN, clipped and regularised", 100, "2 of 5 seeds; the length is not certain"
        ),
    )

    def __post_init__(self):
        self._expect("length", self.length >= 1, "at least 1 step")

    @property
    def inputs(self) -> int:
        """One line a symbol."""
        return 100

    @property
    def outputs(self) -> int:
        """One score a symbol."""
        return 100

    @property
    def chance(self) -> float:
        """Cross-entropy of one half for each of the two."""
        return log(2)

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """Symbols one-hot, and one asked for at the last step."""
        symbols = torch.randint(2, self.inputs, (count, self.length), generator=generator)
        symbols[:, 0] = label = integers(0, 1, count, generator)
        last = torch.full((count,), self.length - 1)
        return Batch(F.one_hot(symbols, self.inputs).float(), label, at(last, self.length))
