"""Noiseless memorisation: a pattern is held through a silence and said again."""

from dataclasses import dataclass
from math import log
from typing import ClassVar

import torch
from torch.nn import functional as F

from longreach.batch import Batch
from longreach.tasks.task import Choosing, Published


@dataclass(frozen=True)
class Memorisation(Choosing):
    """A pattern of symbols, a silence with a sign at its end, and the pattern again.

        step    0 ... P - 1    P ... P + L - 1   P + L   P + L + 1 ... 2P + L - 1
        x       s₀ ... s       silence           sign    silence
        y       silence        silence           s₀      s₁ ... s

    positions   P, 10 in the source's code
    values      symbols, 5 in the source's code ("5-bit"), each with the same chance
    lines       x one-hot: 0 to values - 1 the symbols, then silence, then the sign; y the same without the sign
    length      L: steps of silence before the sign. The sequence has L + 2P steps, every one is asked
    chance      P ln values/(L + 2P) nats: silence where it is due, then each symbol with the same score
    wrong       where a step is another symbol
    Is not      Copying: the first symbol is due at the sign itself, and the other way of counting lines
    Source      Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, and their code; after Martens & Sutskever 2011. The
                20-bit form: positions and values of which are not stated in the code, so they are fields here
    """

    positions: int = 10
    values: int = 5

    name: ClassVar[str] = "memorisation"
    source: ClassVar[str] = "Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063"
    criterion: ClassVar[str] = "all steps right in more than 99 % of sequences"
    published: ClassVar[tuple[Published, ...]] = tuple(
        Published("Pascanu et al. 2013", "RNN, clipped and regularised", L, "5 of 5 seeds") for L in (50, 100, 150, 200)
    )

    def __post_init__(self):
        self._expect("length", self.length >= 0, "0 steps of silence or more")
        self._expect("positions", self.positions >= 1, "at least 1 symbol to hold")
        self._expect("values", self.values >= 2, "at least 2 symbols to choose from")

    @property
    def inputs(self) -> int:
        """The symbols, silence, and the sign."""
        return self.values + 2

    @property
    def outputs(self) -> int:
        """The symbols and silence."""
        return self.values + 1

    @property
    def chance(self) -> float:
        """Cross-entropy of whoever knows when to speak and not what."""
        return self.positions * log(self.values) / (self.length + 2 * self.positions)

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """Symbols one-hot, an answer at every step."""
        pattern = torch.randint(self.values, (count, self.positions), generator=generator)
        steps = self.length + 2 * self.positions
        x, y = torch.full((2, count, steps), self.values)
        x[:, : self.positions] = pattern
        x[:, -self.positions] = self.values + 1
        y[:, -self.positions :] = pattern
        return Batch(F.one_hot(x, self.inputs).float(), y.flatten(), torch.ones(count, steps, dtype=torch.bool))
