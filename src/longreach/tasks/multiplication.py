"""Multiplication: the product of two marked numbers far apart."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from longreach.batch import Batch
from longreach.tasks.adding import HS97, SHORTEST, marked
from longreach.tasks.task import Measuring, Published


@dataclass(frozen=True)
class Multiplication(Measuring):
    """xₜ = (value, marker), values of U[0, 1]; at the last step X₁ X₂ is asked for, the product of the marked two.

    | variant    | the marked two                               | wrong if   |
    |------------|----------------------------------------------|------------|
    | hochreiter | of the first 10; of the first T/2 - 1 others | |e| > 0.04 |
    | pascanu    | [0, l/10); [l/10, l/2)                       | e² > 0.04  |

    length      steps T: lengths and markers are those of Adding in the same variant. Where the first step is one of
                the marked two it counts as 1 (in `hochreiter`)
    chance      mean squared error of 1/4: E[X²]² - 1/16 = 1/9 - 1/16 = 7/144. In `hochreiter` one marker is hidden
                with p = 1/10 + 9/(10 n), n = T/2 - 1; the answer is then 1/2: (1 - p) 7/144 + p/12
    solved      `hochreiter`: fewer than 13 of the last 2000 wrong, the stricter of the paper's two runs (140 and 13)
    Source      Hochreiter & Schmidhuber 1997, experiment 5 (T = 100); Pascanu, Mikolov & Bengio 2013 and their code.
                Talathi & Vartak 2016 print 0.2025 as the chance level; it is 7/144 = 0.0486
    """

    variant: str = "pascanu"

    name: ClassVar[str] = "multiplication"
    source: ClassVar[str] = "Hochreiter & Schmidhuber 1997, Neural Computation 9(8):1735-1780, experiment 5"
    criterion: ClassVar[str] = (
        "pascanu: squared error <= 0.04 in more than 99 % of 10,000 sequences; "
        "hochreiter: |error| > 0.04 in fewer than 13 of 2000"
    )
    published: ClassVar[tuple[Published, ...]] = (
        Published(
            HS97,
            "LSTM 2x2",
            100,
            "14 of 2560 wrong, mse 0.0139, after 1,273,000 sequences",
            "hochreiter",
            settings="93 weights, lr 0.1, one sequence at a time, no clipping",
        ),
        Published(
            HS97,
            "LSTM 2x2",
            100,
            "139 of 2560 wrong, mse 0.0223, after 482,000 sequences",
            "hochreiter",
            settings="93 weights, lr 0.1, one sequence at a time, no clipping",
        ),
        Published(
            "Pascanu et al. 2013", "RNN, clipped and regularised", 200, "5 of 5 seeds, lengths to 200", "pascanu"
        ),
        Published(
            "Talathi & Vartak 2016",
            "np-RNN",
            200,
            "more than 90 % within 0.04; IRNN less than 50 %",
            settings="SGD 2e-4, batch 16, clip 10, 100 epochs",
        ),
    )

    def __post_init__(self):
        self._expect("variant", self.variant in ("hochreiter", "pascanu"), "one of hochreiter, pascanu")
        shortest = SHORTEST[self.variant]
        self._expect("length", self.length >= shortest, f"at least {shortest} steps in variant {self.variant}")

    @property
    def inputs(self) -> int:
        """A value and a marker."""
        return 2

    @property
    def chance(self) -> float:
        """Mean squared error of the mean product, 1/4; 1/2 where one factor is known to be 1."""
        hidden = 1 / 10 + 9 / 10 / (self.length // 2 - 1) if self.variant == "hochreiter" else 0
        return (1 - hidden) * 7 / 144 + hidden / 12

    @property
    def allowed(self) -> float:
        """The rule of `hochreiter`: fewer than 13 of the last 2000."""
        return 13 / 2000 if self.variant == "hochreiter" else 0.01

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """Numbers, marks, and an answer at the last step."""
        x, two, hidden, asked = marked(self.variant, self.length, count, 0.0, 1.0, generator)
        return Batch(x, two.masked_fill(hidden, 1).prod(dim=1, keepdim=True), asked)

    def wrong(self, answer: Float[Tensor, "answer 1"], batch: Batch) -> Bool[Tensor, " sequence"]:
        """Sequences whose error is beyond what the variant lets pass."""
        return ~((answer - batch.y).abs()[:, 0] < (0.04 if self.variant == "hochreiter" else 0.2))
