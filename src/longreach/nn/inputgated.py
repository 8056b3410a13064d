"""Cells whose gates see the input alone: linear in the state, all steps at once (Martin & Cundy 2018, 1709.04057)."""

from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear as product

from longreach.kernels.linear import linear
from longreach.kernels.walk import Steps
from longreach.nn.cell import Cell
from longreach.nn.weights import uniform


class InputGated(Cell):
    """hₜ = aₜ hₜ₋₁ + bₜ, where aₜ and bₜ are made of W xₜ + bias.

    weight [G·H, I], within ±1/√I at the start; bias [G·H], zero at the start. A kind of cell adds `factors`.
    """

    gates: int

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(hidden_size)
        rows = self.gates * hidden_size
        self.weight = uniform(rows, input_size, within=input_size**-0.5, device=device, dtype=dtype)
        self.bias = nn.Parameter(torch.zeros(rows, device=device, dtype=dtype))

    def factors(
        self, gates: Float[Tensor, "row gates"]
    ) -> tuple[Float[Tensor, "row hidden"], Float[Tensor, "row hidden"]]:
        """aₜ and bₜ of W xₜ + bias."""
        raise NotImplementedError(f"{type(self).__name__}.factors: expected gates -> (a, b)")

    def project(self, x: Float[Tensor, "row input"]) -> Float[Tensor, "row gates"]:
        """W xₜ + bias."""
        return product(x, self.weight, self.bias)

    def forward(
        self, x: Float[Tensor, "batch gates"], state: Float[Tensor, "batch hidden"]
    ) -> Float[Tensor, "batch hidden"]:
        """One step."""
        a, b = self.factors(x)
        return a * state + b

    def scan(
        self, x: Float[Tensor, "row input"], state: Float[Tensor, "batch hidden"], **steps: Unpack[Steps]
    ) -> tuple[Float[Tensor, "row hidden"], Float[Tensor, "batch hidden"]]:
        """By longreach.kernels.linear."""
        a, b = self.factors(self.project(x))
        return linear(b, a, state, **steps)
