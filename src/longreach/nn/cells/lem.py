"""Long expressive memory (Rusch, Mishra, Erichson & Mahoney 2022, arXiv 2110.04744)."""

from typing import Any, NamedTuple, Unpack

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

from longreach import kernels
from longreach.errors import ArgumentError
from longreach.kernels.reference import lem_step
from longreach.kernels.walk import Steps
from longreach.nn.cell import Cell
from longreach.nn.weights import uniform


class Scales(NamedTuple):
    """Two states of two time scales, y [B, H], which is shown, and z [B, H]."""

    y: Tensor
    z: Tensor


class LEM(Cell):
    """δ, δ' = Δt σ(W yₜ₋₁ + V xₜ + b),   zₜ = (1 - δ) zₜ₋₁ + δ tanh(W_y yₜ₋₁ + V_y xₜ + b_y),
    yₜ = (1 - δ') yₜ₋₁ + δ' tanh(W_z zₜ + V_z xₜ + b_z).

    Jacobian   diag(1 - δ, 1 - δ') + terms of order Δt
    Carries    where δ and δ' are small: each unit learns its own time scale
    Equals     an explicit step of ordinary differential equations of two time scales
    Is not     an LSTM, though it has as many weights: nothing is gated at the output
    Cost       four products with matrices [H, H] a step, one of them after the others; all steps in one fused kernel

    dt   1 in the paper's text, tuned between 1e-4 and 0.3 in its experiments
    """

    names = Scales._fields

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        dt: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(hidden_size)
        if not 0 < dt <= 1:
            raise ArgumentError(f"dt: expected 0 < dt <= 1, got {dt}")
        self.dt = dt
        place: Any = {"within": hidden_size**-0.5, "device": device, "dtype": dtype}
        self.weight_ih = uniform(4 * hidden_size, input_size, **place)  # δ, δ', z, y
        self.bias = uniform(4 * hidden_size, **place)
        self.weight_y = uniform(3 * hidden_size, hidden_size, **place)  # δ, δ', z
        self.weight_z = uniform(hidden_size, hidden_size, **place)

    def start(self, batch: int, *, like: Tensor) -> Scales:
        """Zeros."""
        return Scales(like.new_zeros(batch, self.hidden_size), like.new_zeros(batch, self.hidden_size))

    def project(self, x: Float[Tensor, "row input"]) -> Float[Tensor, "row gates"]:
        """V xₜ + b."""
        return linear(x, self.weight_ih, self.bias)

    def forward(self, x: Float[Tensor, "batch gates"], state: Scales) -> Scales:
        """One step."""
        return Scales(*lem_step(x, state, self.weight_y, self.weight_z, self.dt))

    def scan(
        self, x: Float[Tensor, "row input"], state: Scales, **steps: Unpack[Steps]
    ) -> tuple[Float[Tensor, "row hidden"], Scales]:
        """By longreach.kernels.lem."""
        weights = self.weight_ih, self.weight_y, self.weight_z, self.bias
        rows, y, z = kernels.lem(x, *weights, *state, dt=self.dt, **steps)
        return rows, Scales(y, z)
