"""Copying: ten symbols are said again, in order, after a long silence."""

from dataclasses import dataclass
from math import log
from typing import ClassVar

import torch
from torch.nn import functional as F

from longreach.batch import Batch
from longreach.tasks.task import Choosing, Published

WORDS = 10  # symbols to say again


@dataclass(frozen=True)
class Copying(Choosing):
    """Ten symbols, a silence, a sign, silence; from the sign on, the ten are to be said in their order.

        step    0 ... 9       10 ... T + 8   T + 9   T + 10 ... T + 19
        x       s₀ ... s₉     blank          sign    blank
        y       blank         blank          blank   s₀ ... s₉

    symbols     8, each with the same chance. x is one-hot over 10 lines: 0 the blank, 1 to 8 the symbols, 9 the sign;
                y has 9 classes, the same numbers without the sign
    length      T: silence of T - 1 steps and the sign. The sequence has T + 20 steps, every one is asked
    chance      10 ln 8/(T + 20) nats: blanks where blanks are due, then each symbol with the same score
    wrong       where a step, of all T + 20, is another symbol; the source has curves of the loss alone
    Is not      the task of Graves et al. 2014 for memory machines, whose length varies
    Source      Arjovsky, Shah & Bengio 2016, arXiv 1511.06464, section 5.1, after Hochreiter & Schmidhuber 1997
    """

    name: ClassVar[str] = "copying"
    source: ClassVar[str] = "Arjovsky, Shah & Bengio 2016, arXiv 1511.06464"
    criterion: ClassVar[str] = "all steps right in more than 99 % of sequences (the source: a loss near 0)"
    published: ClassVar[tuple[Published, ...]] = (
        *(
            Published("Arjovsky et al. 2016", "uRNN", T, "solved", settings="128 units, RMSprop 1e-3, batch 20")
            for T in (100, 200, 300, 500)
        ),
        Published(
            "Arjovsky et al. 2016",
            "LSTM",
            100,
            "better than chance; not at 200, 300, 500",
            settings="40 units, RMSprop 1e-3, batch 20, clip 1 element-wise",
        ),
        Published(
            "Kerg et al. 2019",
            "expRNN, nnRNN, EURNN, orthogonal RNN",
            200,
            "about 0 by iteration 400",
            settings="128 units, batch 10",
        ),
        Published("Kerg et al. 2019", "LSTM, RNN", 200, "stay at chance, 0.0945", settings="128 units, batch 10"),
        Published("Bai et al. 2018", "LSTM", 1000, "loss 0.0204", settings="16,000 weights"),
        Published("Bai et al. 2018", "GRU", 1000, "loss 0.0197", settings="16,000 weights"),
        Published("Bai et al. 2018", "RNN", 1000, "loss 0.0202", settings="16,000 weights"),
        Published("Bai et al. 2018", "EURNN", 1000, "loss 0.011", settings="16,000 weights"),
        Published("Bai et al. 2018", "TCN", 1000, "loss 3.5e-5", settings="16,000 weights, Adam 0.002"),
    )

    def __post_init__(self):
        self._expect("length", self.length >= 1, "at least 1 step")

    @property
    def inputs(self) -> int:
        """Blank, eight symbols, the sign."""
        return 10

    @property
    def outputs(self) -> int:
        """Blank and eight symbols."""
        return 9

    @property
    def chance(self) -> float:
        """Cross-entropy of whoever knows when to speak and not what."""
        return WORDS * log(8) / (self.length + 2 * WORDS)

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """Symbols one-hot, an answer at every step."""
        words = torch.randint(1, 9, (count, WORDS), generator=generator)
        steps = self.length + 2 * WORDS
        x, y = torch.zeros(2, count, steps, dtype=torch.int64)
        x[:, :WORDS] = words
        x[:, -WORDS - 1] = 9
        y[:, -WORDS:] = words
        return Batch(F.one_hot(x, self.inputs).float(), y.flatten(), torch.ones(count, steps, dtype=torch.bool))
