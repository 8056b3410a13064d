"""Mackey-Glass: a chaotic series, to be foretold 84 steps ahead."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from longreach.batch import Batch
from longreach.tasks.drawing import integers, uniform
from longreach.tasks.task import Measuring, Published

FINE = 10  # steps of integration in one unit of time
DELAY = 17 * FINE
SETTLING = 300  # units of time before anything is shown, and after them as many again from which the start is drawn
SEEN = 100  # steps shown before the first answer


@dataclass(frozen=True)
class MackeyGlass(Measuring):
    """dx/ds = 0.2 x(s - τ)/(1 + x(s - τ)¹⁰) - 0.1 x(s),  τ = 17; a step is a unit of time; what will x be, steps ahead?

    equation    integrated by Euler's rule in steps of 0.1, in float64, from a random constant of [0.5, 1.5] before the
                start; the first step shown is a random one from 300 on
    x, y        x(t), and x(t + horizon) as the answer at step t
    asked       from step 100 on
    length      steps asked; 100 more come first
    horizon     84 in the literature
    loss        mean squared error; its square root over the standard deviation is the literature's NRMSE₈₄
    chance      variance of the series: 0.0510, measured over 3e7 steps, +- 0.0001
    wrong       where the NRMSE within the sequence is above 0.1; the source has no such rule
    Is not      free-running, as in Jaeger & Haas, who feed the net's answers back to it for 84 steps: here the answer
                is asked for at once. Nor shifted and squashed, as theirs is
    Cost        one product with a triangle of 171 x 171 for every 17 units of time: so far the delayed term is known
    Source      Mackey & Glass 1977, Science 197:287-289; Jaeger & Haas 2004, Science 304:78-80, who report
                log₁₀ NRMSE₈₄ = -4.2 with 1000 units (from memory)
    """

    horizon: int = 84

    name: ClassVar[str] = "mackey-glass"
    source: ClassVar[str] = "Mackey & Glass 1977, Science 197:287-289; Jaeger & Haas 2004, Science 304:78-80"
    criterion: ClassVar[str] = "NRMSE <= 0.1 in 99 % of sequences (the sources have no rule)"
    published: ClassVar[tuple[Published, ...]] = ()

    def __post_init__(self):
        self._expect("length", self.length >= 1, "at least 1 step asked")
        self._expect("horizon", self.horizon >= 1, "at least 1 step ahead")

    @property
    def inputs(self) -> int:
        """The series itself."""
        return 1

    @property
    def chance(self) -> float:
        """Variance of the series, as measured."""
        return 0.0510

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """Series, and what each will be."""
        steps = SEEN + self.length
        start = uniform(0.5, 1.5, (count,), generator)
        first = integers(SETTLING, 2 * SETTLING, count, generator)
        shown = first[:, None] + torch.arange(steps + self.horizon)
        series = integrated(start.double(), 2 * SETTLING + steps + self.horizon + 1).gather(1, shown).float()
        asked = (torch.arange(steps) >= SEEN).repeat(count, 1)
        return Batch(series[:, :steps, None], series[:, SEEN + self.horizon :].reshape(-1, 1), asked)

    def wrong(self, answer: Float[Tensor, "answer 1"], batch: Batch) -> Bool[Tensor, " sequence"]:
        """Sequences with an NRMSE above 0.1."""
        mse = (answer - batch.y).square().view(-1, self.length).mean(dim=1)
        return ~(mse <= 0.1**2 * self.chance)


def integrated(start: Float[Tensor, " sequence"], units: int) -> Float[Tensor, "sequence time"]:
    """x at the times 1, ..., units: xₙ₊₁ = xₙ + 0.1 (f(xₙ₋₁₇₀) - 0.1 xₙ), f(x) = 0.2 x/(1 + x¹⁰).

    Linear in x as long as all f are known, and that is for 171 steps:

        xₙ₊ⱼ = 0.99ʲ xₙ + 0.1 Σᵢ₌₀..ⱼ₋₁ 0.99ʲ⁻¹⁻ⁱ f(xₙ₋₁₇₀₊ᵢ)
    """
    ahead = torch.arange(DELAY + 1, dtype=start.dtype)
    decay = 0.99 ** (ahead + 1)[:, None]
    weights = (0.1 * 0.99 ** (ahead[:, None] - ahead)).tril()
    past = start.repeat(DELAY + 1, 1)  # xₙ₋₁₇₀, ..., xₙ
    pieces = []
    for _ in range(-(-units * FINE // (DELAY + 1))):
        past = decay * past[-1] + weights @ (0.2 * past / (1 + past**10))
        pieces.append(past)
    return torch.cat(pieces)[FINE - 1 : units * FINE : FINE].T
