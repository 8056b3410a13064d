"""The minimal GRU, whose gates see the input alone (Feng et al. 2024, arXiv 2410.01201, section 3.1)."""

from typing import Any, Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear as product

from longreach.kernels.linear import linear
from longreach.kernels.walk import Steps
from longreach.nn.cell import Cell
from longreach.nn.weights import uniform


class MinGRU(Cell):
    """z = σ(W_z xₜ + b_z),   n = Wₙ xₜ + bₙ,   hₜ = (1 - z) hₜ₋₁ + z n.

    Jacobian   diag(1 - z), whatever h is
    Carries    where z is near 0: k steps keep the product of 1 - z
    Equals     the GRU without h in its gates, without r, and without tanh
    Is not     able to let what it remembers decide what it takes up: that is left to the next layer
    Cost       all steps at once: a linear recurrence, 2 √T sweeps

    weight [2H, I]: z, n.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(hidden_size)
        place: Any = {"device": device, "dtype": dtype}
        self.weight = uniform(2 * hidden_size, input_size, within=input_size**-0.5, **place)
        self.bias = nn.Parameter(torch.zeros(2 * hidden_size, **place))

    def project(self, x: Float[Tensor, "row input"]) -> Float[Tensor, "row gates"]:
        """W xₜ + b."""
        return product(x, self.weight, self.bias)

    def forward(
        self, x: Float[Tensor, "batch gates"], state: Float[Tensor, "batch hidden"]
    ) -> Float[Tensor, "batch hidden"]:
        """One step."""
        kept, added = _factors(x)
        return kept * state + added

    def scan(
        self, x: Float[Tensor, "row input"], state: Float[Tensor, "batch hidden"], **steps: Unpack[Steps]
    ) -> tuple[Float[Tensor, "row hidden"], Float[Tensor, "batch hidden"]]:
        """By longreach.kernels.linear."""
        kept, added = _factors(self.project(x))
        return linear(added, kept, state, **steps)


def _factors(gates: Float[Tensor, "row gates"]) -> tuple[Float[Tensor, "row hidden"], Float[Tensor, "row hidden"]]:
    """1 - z and z n."""
    z, n = gates.chunk(2, 1)
    return torch.sigmoid(-z), torch.sigmoid(z) * n
