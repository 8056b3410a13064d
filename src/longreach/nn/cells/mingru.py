"""The minimal GRU (Feng et al. 2024, arXiv 2410.01201, section 3.1)."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from longreach.errors import ArgumentError
from longreach.nn.inputgated import InputGated


class MinGRU(InputGated):
    """z = σ(W_z xₜ + b_z),   n = Wₙ xₜ + bₙ,   hₜ = (1 - z) hₜ₋₁ + z n.

    Jacobian   diag(1 - z), whatever h is
    Carries    where z is near 0: k steps keep the product of 1 - z
    Equals     the GRU without h in its gates, without r, and without tanh
    Is not     able to let what it remembers decide what it takes up: that is left to the next layer
    Cost       all steps at once: longreach.kernels.linear

    chrono     longest lag T of the task: b_z starts at -ln u, u uniform in [1, T - 1], so that a unit remembers u steps
               (as Tallec & Ollivier 2018, arXiv 1804.11188, start the gates of a GRU); None: at 0

    weight [2H, I]: z, n.
    """

    gates = 2

    def __init__(self, input_size: int, hidden_size: int, *, chrono: int | None = None, **options: Any):
        if chrono is not None and chrono < 3:
            raise ArgumentError(f"chrono: expected the longest lag of the task, 3 steps or more, got {chrono}")
        super().__init__(input_size, hidden_size, **options)
        if chrono is not None:
            with torch.no_grad():
                self.bias[:hidden_size].uniform_(1, chrono - 1).log_().neg_()

    def factors(
        self, gates: Float[Tensor, "row gates"]
    ) -> tuple[Float[Tensor, "row hidden"], Float[Tensor, "row hidden"]]:
        """1 - z and z n."""
        z, n = gates.chunk(2, 1)
        return torch.sigmoid(-z), torch.sigmoid(z) * n
