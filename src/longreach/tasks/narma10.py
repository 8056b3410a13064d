"""NARMA10: a nonlinear system of order ten, to be imitated from its input."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from longreach.batch import Batch
from longreach.tasks.drawing import uniform
from longreach.tasks.task import Measuring

ORDER = 10
SETTLING = 50  # steps until the system has forgotten that it started from 0


@dataclass(frozen=True)
class NARMA10(Measuring):
    """yₜ₊₁ = 0.3 yₜ + 0.05 yₜ Σᵢ₌₀..₉ yₜ₋ᵢ + 1.5 uₜ₋₉ uₜ + 0.1,  u ~ U[0, 0.5], y = 0 before the start.

    asked       yₜ₊₁, at step t, when u₀, ..., uₜ were seen; from step 50 on
    length      steps asked; 50 more come first
    loss        mean squared error; its square root over the standard deviation of y is the NRMSE of the literature
    chance      variance of y: 0.0118, measured over 6e7 steps at lengths from 40 to 2000, +- 0.0001
    wrong       where the NRMSE within the sequence is above 0.1; the source has no such rule
    diverging   the system can run away: sequences that leave [0, 1] are drawn again, 1.8 % of those of 1000 steps. A
                quarter of these diverge, the others would have come back
    Is not      a test of very long memory: ten steps, and products of two of them; and what reservoirpy calls NARMA
                leaves out yₜ of the sum and takes another lag
    Source      Atiya & Parlos 2000, IEEE Transactions on Neural Networks 11(3):697-709. Reported, from memory: linear
                readouts about 0.4, echo state networks of 100 to 400 units 0.2 to 0.3, good ones 0.1
    """

    name: ClassVar[str] = "narma10"
    source: ClassVar[str] = "Atiya & Parlos 2000, IEEE Transactions on Neural Networks 11(3):697-709"
    criterion: ClassVar[str] = "NRMSE <= 0.1 in 99 % of sequences (the source has no rule; a good reservoir has 0.1)"

    def __post_init__(self):
        self._expect("length", self.length >= 1, "at least 1 step asked")

    @property
    def inputs(self) -> int:
        """What drives the system."""
        return 1

    @property
    def chance(self) -> float:
        """Variance of y, as measured."""
        return 0.0118

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """Inputs, and from step 50 on what the system makes of them."""
        steps = SETTLING + self.length
        u = uniform(0.0, 0.5, (count, steps), generator)
        y = imitated(u)
        while (away := ~((y >= 0) & (y <= 1)).all(dim=1)).any():
            u[away] = uniform(0.0, 0.5, (int(away.sum()), steps), generator)
            y[away] = imitated(u[away])
        asked = (torch.arange(steps) >= SETTLING).repeat(count, 1)
        return Batch(u[..., None], y[:, SETTLING:].reshape(-1, 1), asked)

    def wrong(self, answer: Float[Tensor, "answer 1"], batch: Batch) -> Bool[Tensor, " sequence"]:
        """Sequences with an NRMSE above 0.1."""
        mse = (answer - batch.y).square().view(-1, self.length).mean(dim=1)
        return ~(mse <= 0.1**2 * self.chance)


def imitated(u: Float[Tensor, "sequence time"]) -> Float[Tensor, "sequence time"]:
    """yₜ₊₁ at place t, for all sequences at once; computed in float64."""
    products = 0.1 + 1.5 * u.double() * torch.nn.functional.pad(u.double(), (ORDER - 1, 0))[:, : u.shape[1]]
    y = torch.zeros(ORDER + u.shape[1], len(u), dtype=torch.float64)  # time first: a step is one row
    for t, product in enumerate(products.T):
        last = y[t : t + ORDER]
        y[t + ORDER] = 0.3 * last[-1] + 0.05 * last[-1] * last.sum(dim=0) + product
    return y[ORDER:].T.to(u.dtype)
