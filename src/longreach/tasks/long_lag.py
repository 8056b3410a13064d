"""Long lags without noise: which of two symbols began the sequence, a hundred symbols later."""

from dataclasses import dataclass
from math import log
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from longreach.batch import Batch
from longreach.tasks.adding import HS97
from longreach.tasks.drawing import at, before, integers
from longreach.tasks.task import Choosing, Published, somewhere


@dataclass(frozen=True)
class LongLag(Choosing):
    """The first symbol that matters, x or y, comes again at the end; it is to be told before it does.

    | variant | sequence                                     | asked           | inputs, outputs | wrong if off by  |
    |---------|----------------------------------------------|-----------------|-----------------|------------------|
    | 2a      | z, a₁, a₂, ..., aₚ₋₁, z                      | next, all steps | p + 1, p + 1    | 0.25 at any step |
    | 2b      | z, p - 1 of {a₁, ..., aₚ₋₁} at random, z     | next, all steps | p + 1, p + 1    | 0.25 at the end  |
    | 2c      | b, z, q + k of {a₁, ..., aₚ} at random, e, z | z, at e         | p + 4, 2        | 0.2              |

    z           x or y, with the same chance; one-hot: the a come first, then x and y, then b and e
    length      p = q = T: the lag is p, in 2c q + k + 1
    distractors p of 2c; None: p = q = length, as in the paper's first rows
    k           geometric: k = 0, 1, ... with probability 0.1 * 0.9ᵏ. The mean length is then q + 13; the paper has
                q + 14
    chance      2a ln 2/p: all but the end is known. 2b (ln 2 + (p - 1) ln(p - 1))/p. 2c ln 2
    wrong       where an output is off its target, 0 or 1. The paper's outputs are logistic, with squared errors; here
                they are a softmax's, with cross-entropy
    Source      Hochreiter & Schmidhuber 1997, experiment 2
    """

    variant: str = "2a"
    distractors: int | None = None

    name: ClassVar[str] = "long-lag"
    source: ClassVar[str] = "Hochreiter & Schmidhuber 1997, Neural Computation 9(8):1735-1780, experiment 2"
    criterion: ClassVar[str] = "all outputs within 0.25 (2c: 0.2) of their targets in 10,000 of 10,000 sequences"
    published: ClassVar[tuple[Published, ...]] = (
        Published(HS97, "LSTM", 100, "18 of 18 after 5,040 sequences", "2a", settings="10,504 weights, lr 1"),
        Published(HS97, "chunker", 100, "33 % after 32,400 sequences", "2a"),
        Published(HS97, "RTRL, BPTT", 100, "0 % after 5,000,000 sequences", "2a"),
        Published(
            HS97,
            "LSTM",
            100,
            "18 of 18 after 5,680 sequences; chunker, BPTT, RTRL fail",
            "2b",
            settings="10,504 weights, lr 1",
        ),
        *(
            Published(
                HS97, "LSTM 2x1", q, f"20 of 20 after {after} sequences, p = {p}", "2c", settings="lr 0.01, no biases"
            )
            for q, p, after in [
                (50, 50, "30,000"),
                (100, 100, "31,000"),
                (200, 200, "33,000"),
                (500, 500, "38,000"),
                (1000, 1000, "49,000"),
                (1000, 500, "49,000"),
                (1000, 200, "75,000"),
                (1000, 100, "135,000"),
                (1000, 50, "203,000"),
            ]
        ),
    )

    def __post_init__(self):
        self._expect("variant", self.variant in ("2a", "2b", "2c"), "one of 2a, 2b, 2c")
        self._expect("length", self.length >= 2, "a lag of at least 2 steps")
        fits = self.distractors is None or (self.variant == "2c" and self.distractors >= 1)
        self._expect("distractors", fits, "None, or in variant 2c at least 1 symbol")

    @property
    def inputs(self) -> int:
        """One line a symbol."""
        return (self.distractors or self.length) + 4 if self.variant == "2c" else self.length + 1

    @property
    def outputs(self) -> int:
        """One score a symbol that may come."""
        return 2 if self.variant == "2c" else self.length + 1

    @property
    def chance(self) -> float:
        """Cross-entropy of whoever knows all but what is random."""
        p = self.length
        return {"2a": log(2) / p, "2b": (log(2) + (p - 1) * log(p - 1)) / p, "2c": log(2)}[self.variant]

    @property
    def allowed(self) -> float:
        """None of 10,000."""
        return 1 / 10_000

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """Symbols one-hot, and what comes next."""
        z = integers(0, 1, count, generator)
        if self.variant == "2c":
            return self._very_long(z, generator)
        p = self.length
        known = torch.arange(p - 1).repeat(count, 1)
        between = known if self.variant == "2a" else torch.randint(p - 1, known.shape, generator=generator)
        ends = z[:, None] + p - 1
        sequence = torch.cat([ends, between, ends], dim=1)
        x = F.one_hot(sequence[:, :-1], self.inputs).float()
        return Batch(x, sequence[:, 1:].flatten(), torch.ones(count, p, dtype=torch.bool))

    def _very_long(self, z: Tensor, generator: torch.Generator) -> Batch:
        p = self.inputs - 4
        more = torch.zeros(len(z)).geometric_(0.1, generator=generator).long() - 1  # torch counts from 1
        length = self.length + more + 3
        steps = int(length.max())
        symbols = torch.randint(p, (len(z), steps), generator=generator)
        symbols[:, 0] = p + 2
        symbols[:, 1] = p + z
        end = at(length - 1, steps)
        symbols[end] = p + 3
        x = F.one_hot(symbols, self.inputs).float() * before(length, steps)[..., None]
        return Batch(x, z, end)

    def wrong(self, answer: Float[Tensor, "answer output"], batch: Batch) -> Bool[Tensor, " sequence"]:
        """Sequences with an output too far off its target: at all steps in 2a, at the end in 2b and 2c."""
        tolerance = 0.2 if self.variant == "2c" else 0.25
        off = ~((answer.softmax(dim=1) - F.one_hot(batch.y, self.outputs)).abs() < tolerance).all(dim=1)
        if self.variant == "2b":
            return off.view(len(batch.asked), -1)[:, -1]
        return somewhere(off, batch.asked)
