"""The gated recurrent unit (Cho et al. 2014, arXiv 1406.1078), in the form that all fused kernels have."""

from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor

from longreach import kernels
from longreach.kernels.walk import Steps
from longreach.nn.gates import GateCell, Recur


class GRU(GateCell):
    """r, z = σ(W xₜ + b + W' hₜ₋₁ + b'),   n = tanh(Wₙ xₜ + bₙ + r (W'ₙ hₜ₋₁ + b'ₙ)),   hₜ = (1 - z) n + z hₜ₋₁.

    Jacobian   diag(z) + diag((1 - z) n') diag(r) W'ₙ + terms through r' and z'
    Carries    where z is near 1; torch's start has z = 1/2, which halves a gradient at every step
    Equals     torch.nn.GRU, weight for weight (gates in the order r, z, n)
    Is not     the paper's form, whose reset gate acts on h before the product and not on the product
    Cost       three products with matrices [H, H] a step; all steps in one fused kernel
    """

    gates = 3

    def step(
        self, x: Float[Tensor, "batch gates"], state: Float[Tensor, "batch hidden"], recur: Recur
    ) -> Float[Tensor, "batch hidden"]:
        """A mixture of the old state and the candidate n."""
        (r, z, n), (r_h, z_h, n_h) = x.chunk(3, 1), recur(state).chunk(3, 1)
        r, z = torch.sigmoid(r + r_h), torch.sigmoid(z + z_h)
        return (1 - z) * torch.tanh(n + r * n_h) + z * state

    def scan(
        self, x: Float[Tensor, "row input"], state: Float[Tensor, "batch hidden"], **steps: Unpack[Steps]
    ) -> tuple[Float[Tensor, "row hidden"], Float[Tensor, "batch hidden"]]:
        """By longreach.kernels.gru."""
        return kernels.gru(x, *self.weights(), state, **steps)
