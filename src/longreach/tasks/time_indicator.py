"""The time indicator: when, in a series of noise, does the next 1 come?"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from longreach.batch import Batch
from longreach.tasks.drawing import integers, uniform
from longreach.tasks.task import Measuring, somewhere


@dataclass(frozen=True)
class TimeIndicator(Measuring):
    """A series that is 1 at every d-th step and noise U[-r, r] at all others; its next value is asked for.

        e = answer - 1                            where the next value is the indicator
        e = how far the answer lies out of [-r, r] elsewhere: nobody can know the noise

    length      d, the lag: 40, 60, 80, 100 in the source
    noise       r < 1
    asked       from step d - 1 on, of 3d steps: one indicator was seen by then. Its first place is random
    chance      mean e² of the best constant, r + (1 - r)/d:  (1 - r)² (1 - 1/d)/d
    wrong       where, at one asked step or more, an answer is nearer to the other kind of step
    Certain     an indicator every d steps, noise of U[-r, r] between, lags of 40 to 100: so much is reported of the
                source. Not verified: r, the length of a series, the rule of success, and that errors on noise count 0
                only while the answer stays within the noise. If they always did, the answer 1 would be right for ever
    Source      Schaefer, Udluft & Zimmermann 2008, Neurocomputing 71:2481-2488
    """

    noise: float = 0.1

    name: ClassVar[str] = "time-indicator"
    source: ClassVar[str] = "Schaefer, Udluft & Zimmermann 2008, Neurocomputing 71:2481-2488"
    criterion: ClassVar[str] = "indicators and noise told apart at all steps of 99 % of sequences"

    def __post_init__(self):
        self._expect("length", self.length >= 2, "a lag of at least 2 steps")
        self._expect("noise", 0 < self.noise < 1, "a number between 0 and 1, less than the indicator's 1")

    @property
    def inputs(self) -> int:
        """The series itself."""
        return 1

    @property
    def chance(self) -> float:
        """Mean squared error of the best constant."""
        return (1 - self.noise) ** 2 * (1 - 1 / self.length) / self.length

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """Series of three lags, with the step that follows each as its answer."""
        lag, steps = self.length, 3 * self.length
        series = uniform(-self.noise, self.noise, (count, steps + 1), generator)
        first = integers(0, lag - 1, count, generator)[:, None]
        series[torch.arange(steps + 1) % lag == first] = 1
        asked = (torch.arange(steps) >= lag - 1).repeat(count, 1)
        return Batch(series[:, :-1, None], series[:, lag:].reshape(-1, 1), asked)

    def loss(self, answer: Float[Tensor, "answer 1"], y: Float[Tensor, "answer 1"]) -> Float[Tensor, ""]:
        """Mean squared error, where noise is forgiven."""
        nearest = torch.where(y == 1, y, answer.clamp(-self.noise, self.noise))
        return (answer - nearest).square().mean()

    def wrong(self, answer: Float[Tensor, "answer 1"], batch: Batch) -> Bool[Tensor, " sequence"]:
        """Sequences in which an indicator is taken for noise, or noise for an indicator."""
        halfway = (1 + self.noise) / 2
        right = torch.where(batch.y == 1, answer > halfway, answer < halfway)
        return somewhere(~right[:, 0], batch.asked)
