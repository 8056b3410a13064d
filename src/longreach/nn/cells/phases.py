"""A linear recurrence whose phases are told in units of the lag (after Orvieto et al. 2023, arXiv 2303.06349)."""

from math import log, pi
from typing import Any

import torch
from jaxtyping import Complex
from torch import Tensor

from longreach.errors import ArgumentError
from longreach.nn.cells.lru import LRU

DECAY = (0.1, 0.7)  # over one lag: a unit starts with 0.9 to 0.5 of what it held


class Phases(LRU):
    """An LRU with λ = exp((-exp ν + i θ) / lag): a step of θ turns what is a lag old by as much, however long the lag.

    Jacobian   diag(λ)
    Carries    |λ|ᵏ after k steps: 0.5 to 0.9 after a lag, at the start
    Equals     an LRU; only its numbers, and so the steps that an optimizer takes, are others. With λ = exp(-exp ν +
               i exp θ), a step of 0.003 turns what is T steps old by up to 0.003 π T radians: at T = 1,000 by a
               turn and a half
    Is not     selective: it takes up everything alike
    Cost       that of an LRU

    lag   steps that it is to remember exactly: θ starts uniform in [0, π lag], so that units of all frequencies tell
          apart what lies within the lag; γ starts at 1
    """

    def __init__(self, input_size: int, hidden_size: int, *, lag: int, **options: Any):
        if lag < 1:
            raise ArgumentError(f"lag: expected the longest lag of the task, a step or more, got {lag}")
        super().__init__(input_size, hidden_size, **options)
        self.lag = lag
        with torch.no_grad():
            self.nu.uniform_(*map(log, DECAY))
            self.theta.uniform_(0, pi * lag)
            self.gamma.zero_()

    def factors(self) -> Complex[Tensor, "hidden"]:
        """λ."""
        return torch.polar(torch.exp(-torch.exp(self.nu) / self.lag), self.theta / self.lag)
