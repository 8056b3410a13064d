"""The independently recurrent network (Li et al. 2018, arXiv 1803.04831)."""

from typing import Any, Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear

from longreach.errors import ArgumentError
from longreach.kernels.diagonal import SLOPES, diagonal
from longreach.kernels.reference import ACTIVATIONS
from longreach.kernels.walk import Steps
from longreach.nn.cell import Cell
from longreach.nn.weights import uniform


class IndRNN(Cell):
    """hₜ = f(W xₜ + b + u hₜ₋₁): a unit sees of the state only itself; f one of kernels.diagonal.SLOPES.

    Jacobian   diag(f' u)
    Carries    over n steps, uⁿ for relu, unit by unit: readable from the weights
    Equals     Elman's network with a diagonal W_hh
    Is not     able to mix units in one layer: that is left to the next one. u is not held in its range while it learns
    Cost       no product with a matrix at any step

    longest   n, the longest lag of the task: u starts uniform in [0, 2^(1/n)], so that uⁿ <= 2
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        activation: str = "relu",
        longest: int = 100,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(hidden_size)
        if activation not in SLOPES:
            raise ArgumentError(f"activation: expected one of {', '.join(SLOPES)}, got {activation!r}")
        if longest < 1:
            raise ArgumentError(f"longest: expected a lag, 1 step or more, got {longest}")
        self.activation = activation
        place: Any = {"device": device, "dtype": dtype}
        self.weight = uniform(hidden_size, input_size, within=input_size**-0.5, **place)
        self.bias = nn.Parameter(torch.zeros(hidden_size, **place))
        self.u = nn.Parameter(torch.empty(hidden_size, **place).uniform_(0, 2 ** (1 / longest)))

    def project(self, x: Float[Tensor, "row input"]) -> Float[Tensor, "row hidden"]:
        """W xₜ + b."""
        return linear(x, self.weight, self.bias)

    def forward(
        self, x: Float[Tensor, "batch hidden"], state: Float[Tensor, "batch hidden"]
    ) -> Float[Tensor, "batch hidden"]:
        """One step."""
        return ACTIVATIONS[self.activation](x + self.u * state)

    def scan(
        self, x: Float[Tensor, "row input"], state: Float[Tensor, "batch hidden"], **steps: Unpack[Steps]
    ) -> tuple[Float[Tensor, "row hidden"], Float[Tensor, "batch hidden"]]:
        """By longreach.kernels.diagonal."""
        return diagonal(self.project(x), self.u, state, activation=self.activation, **steps)
