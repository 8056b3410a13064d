"""The minimal LSTM, whose gates see the input alone (Feng et al. 2024, arXiv 2410.01201, section 3.2)."""

from typing import Any, Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear as product
from torch.nn.functional import softplus

from longreach.kernels.linear import linear
from longreach.kernels.walk import Steps
from longreach.nn.cell import Cell
from longreach.nn.weights import uniform


class MinLSTM(Cell):
    """f, i = σ(W xₜ + b),   n = Wₙ xₜ + bₙ,   hₜ = f/(f + i) hₜ₋₁ + i/(f + i) n.

    Jacobian   diag(f / (f + i)), whatever h is
    Carries    where f is large beside i: k steps keep the product of f / (f + i)
    Equals     the paper's normalised form: both shares add up to 1, so that h keeps its scale
    Is not     an LSTM without h: it has no output gate, no tanh, and h is all it keeps
    Cost       all steps at once: a linear recurrence, 2 √T sweeps

    weight [3H, I]: f, i, n.
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
        self.weight = uniform(3 * hidden_size, input_size, within=input_size**-0.5, **place)
        self.bias = nn.Parameter(torch.zeros(3 * hidden_size, **place))

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
    """f / (f + i), and i / (f + i) n; log σ(a) = -softplus(-a), so that no quotient is 0 / 0."""
    f, i, n = gates.chunk(3, 1)
    share = softplus(-i) - softplus(-f)  # log f - log i
    return torch.sigmoid(share), torch.sigmoid(-share) * n
