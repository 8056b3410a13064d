"""The minimal LSTM (Feng et al. 2024, arXiv 2410.01201, section 3.2)."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from longreach.nn.inputgated import InputGated


class MinLSTM(InputGated):
    """f, i = σ(W xₜ + b),   n = Wₙ xₜ + bₙ,   hₜ = f/(f + i) hₜ₋₁ + i/(f + i) n.

    Jacobian   diag(f / (f + i)), whatever h is
    Carries    where f is large beside i: k steps keep the product of f / (f + i)
    Equals     the paper's normalised form: both shares add up to 1, so that h keeps its scale
    Is not     an LSTM without h: it has no output gate, no tanh, and h is all it keeps
    Cost       all steps at once: longreach.kernels.linear

    weight [3H, I]: f, i, n.
    """

    gates = 3

    def factors(
        self, gates: Float[Tensor, "row gates"]
    ) -> tuple[Float[Tensor, "row hidden"], Float[Tensor, "row hidden"]]:
        """f / (f + i), and i / (f + i) n; by log σ(a) = -softplus(-a), so that no quotient is 0 / 0."""
        f, i, n = gates.chunk(3, 1)
        share = softplus(-i) - softplus(-f)  # log f - log i
        return torch.sigmoid(share), torch.sigmoid(-share) * n
