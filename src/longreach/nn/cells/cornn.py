"""The coupled oscillatory network (Rusch & Mishra 2021, arXiv 2010.00951)."""

from typing import Any, NamedTuple, Unpack

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

from longreach import kernels
from longreach.errors import ArgumentError
from longreach.kernels.reference import cornn_step
from longreach.kernels.walk import Steps
from longreach.nn.cell import Cell
from longreach.nn.weights import uniform


class Oscillators(NamedTuple):
    """Positions y [B, H], which are shown, and velocities z [B, H]."""

    y: Tensor
    z: Tensor


class CoRNN(Cell):
    """zₜ = zₜ₋₁ + Δt (tanh(W yₜ₋₁ + W' zₜ₋₁ + V xₜ + b) - γ yₜ₋₁ - ε zₜ₋₁),   yₜ = yₜ₋₁ + Δt zₜ.

    Jacobian   I + Δt · a bounded matrix
    Carries    by its first term: for small Δt, gradients neither explode nor vanish exponentially
    Equals     oscillators y'' = tanh(W y + W' y' + V x + b) - γ y - ε y', by symplectic Euler steps
    Is not     the form with ε zₜ taken implicitly
    Cost       one product with a matrix [H, 2H] a step; all steps in one fused kernel

    dt, gamma, epsilon   the paper has 0.042, 2.7, 4.7 for sequential MNIST, 0.06, 66, 15 for the adding problem
    """

    names = Oscillators._fields

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        dt: float = 0.042,
        gamma: float = 2.7,
        epsilon: float = 4.7,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(hidden_size)
        if not (dt > 0 and gamma > 0 and epsilon > 0):
            raise ArgumentError(f"dt, gamma, epsilon: expected numbers above 0, got {dt}, {gamma}, {epsilon}")
        self.dt, self.gamma, self.epsilon = dt, gamma, epsilon
        place: Any = {"within": hidden_size**-0.5, "device": device, "dtype": dtype}
        self.weight_ih = uniform(hidden_size, input_size, **place)
        self.weight_hh = uniform(hidden_size, 2 * hidden_size, **place)
        self.bias = uniform(hidden_size, **place)

    def start(self, batch: int, *, like: Tensor) -> Oscillators:
        """All at rest."""
        return Oscillators(like.new_zeros(batch, self.hidden_size), like.new_zeros(batch, self.hidden_size))

    def project(self, x: Float[Tensor, "row input"]) -> Float[Tensor, "row hidden"]:
        """V xₜ + b."""
        return linear(x, self.weight_ih, self.bias)

    def forward(self, x: Float[Tensor, "batch hidden"], state: Oscillators) -> Oscillators:
        """One step."""
        return Oscillators(*cornn_step(x, state, self.weight_hh, self.dt, self.gamma, self.epsilon))

    def scan(
        self, x: Float[Tensor, "row input"], state: Oscillators, **steps: Unpack[Steps]
    ) -> tuple[Float[Tensor, "row hidden"], Oscillators]:
        """By longreach.kernels.cornn."""
        weights = self.weight_ih, self.weight_hh, self.bias
        rows, y, z = kernels.cornn(x, *weights, *state, dt=self.dt, gamma=self.gamma, epsilon=self.epsilon, **steps)
        return rows, Oscillators(y, z)
