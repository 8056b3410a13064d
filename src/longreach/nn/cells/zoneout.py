"""Zoneout (Krueger et al. 2017, arXiv 1606.01305)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from longreach.errors import ArgumentError
from longreach.nn.cell import Cell, State, Step, Wrapper, entries, rebuilt


class Zoneout(Wrapper):
    """hₜ = d hₜ₋₁ + (1 - d) cell(xₜ, hₜ₋₁),   d ~ Bernoulli(rate).

    d is drawn anew for every unit and step; in evaluation it is its mean.

    Jacobian   diag(d) + diag(1 - d) · the inner cell's
    Carries    by its first term, in training: of a gradient, `rate` passes each step untouched
    Equals     the inner cell with rate 0; the leaky integrator in evaluation, around Elman's network
    Is not     dropout: nothing is set to zero. In an LSTM, h is made of the new c and not of the one that was zoned out
    Cost       one random number for each number of the state, and a loop: no fused form

    rate             one, or one for each entry that the inner cell names, for an LSTM (rate of h, rate of c): the paper
                     has (0.05, 0.5) for characters, 0.15 for permuted MNIST
    generator        what d is drawn from; None: torch's own
    inner, options   the cell, and what else it is built with
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        inner: Callable[..., Cell],
        rate: float | tuple[float, ...] = 0.1,
        generator: torch.Generator | None = None,
        **options: Any,
    ):
        super().__init__(inner, input_size, hidden_size, **options)
        self.generator = generator
        self.rates = rate if isinstance(rate, tuple) else (rate,) * len(self.names)
        if len(self.rates) != len(self.names) or not all(0 <= one <= 1 for one in self.rates):
            expected = f"a share between 0 and 1, or one for each of {', '.join(self.names)}"
            raise ArgumentError(f"rate: expected {expected}, got {rate}")

    def around(self, step: Step, x: Tensor, state: State) -> State:
        """A step of which some units take no notice."""
        old, new = entries(state), entries(step(x, state))
        mixed = [self._mixed(*pair) for pair in zip(self.rates, old, new, strict=False)]
        return rebuilt(state, (*mixed, *new[len(mixed) :]))

    def _mixed(self, rate: float, old: Tensor, new: Tensor) -> Tensor:
        if not self.training:
            return rate * old + (1 - rate) * new
        place = old.device if self.generator is None else self.generator.device
        drawn = torch.rand(old.shape, generator=self.generator, device=place)
        return torch.where(drawn.to(old.device) < rate, old, new)

    def extra_repr(self) -> str:
        """The rates."""
        return f"rate={self.rates}"
