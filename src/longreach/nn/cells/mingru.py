"""The minimal GRU (Feng et al. 2024, arXiv 2410.01201, section 3.1)."""

import torch
from jaxtyping import Float
from torch import Tensor

from longreach.nn.inputgated import InputGated


class MinGRU(InputGated):
    """z = σ(W_z xₜ + b_z),   n = Wₙ xₜ + bₙ,   hₜ = (1 - z) hₜ₋₁ + z n.

    Jacobian   diag(1 - z), whatever h is
    Carries    where z is near 0: k steps keep the product of 1 - z
    Equals     the GRU without h in its gates, without r, and without tanh
    Is not     able to let what it remembers decide what it takes up: that is left to the next layer
    Cost       all steps at once: longreach.kernels.linear

    weight [2H, I]: z, n.
    """

    gates = 2

    def factors(
        self, gates: Float[Tensor, "row gates"]
    ) -> tuple[Float[Tensor, "row hidden"], Float[Tensor, "row hidden"]]:
        """1 - z and z n."""
        z, n = gates.chunk(2, 1)
        return torch.sigmoid(-z), torch.sigmoid(z) * n
