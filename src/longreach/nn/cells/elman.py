"""Elman's network, with any activation (Elman 1990, Cognitive Science 14:179-211)."""

from typing import Any, Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import prelu

from longreach import kernels
from longreach.errors import ArgumentError
from longreach.kernels.walk import Steps
from longreach.nn.gates import GateCell, Recur

PRELU_START = 0.25  # He, Zhang, Ren & Sun 2015, arXiv 1502.01852; torch's too


class Elman(GateCell):
    """hₜ = f(W_hh hₜ₋₁ + b_hh + W_ih xₜ + b_ih),   f any of longreach.kernels.ACTIVATIONS.

    Jacobian   diag(f') W_hh
    Carries    nothing of its own: k steps scale a gradient by about the k-th power of ‖diag(f') W_hh‖. f' is at most 1
               for tanh, at most 1/4 for sigmoid, 1 for identity and for what relu lets through
    Equals     torch.nn.RNN for tanh and relu, weight for weight;
               the identity RNN with activation="relu", start="identity" (Le, Jaitly & Hinton 2015, arXiv 1504.00941)
    Is not     kept orthogonal by start="orthogonal", which only starts it there: see orthogonal.py
    Cost       one product with W_hh a step; all steps in one fused kernel

    "prelu" learns one `slope` for all units (He et al. 2015, arXiv 1502.01852).
    """

    gates = 1

    def __init__(self, input_size: int, hidden_size: int, *, activation: str = "tanh", **options: Any):
        if activation not in kernels.ACTIVATIONS:
            raise ArgumentError(f"activation: expected one of {', '.join(kernels.ACTIVATIONS)}, got {activation!r}")
        super().__init__(input_size, hidden_size, **options)
        self.activation = activation
        learned = torch.full_like(self.weight_hh[0, :1].detach(), PRELU_START) if activation == "prelu" else None
        self.slope = None if learned is None else nn.Parameter(learned)

    def step(
        self, x: Float[Tensor, "batch hidden"], state: Float[Tensor, "batch hidden"], recur: Recur
    ) -> Float[Tensor, "batch hidden"]:
        """f(x + what recur makes of h)."""
        return self.activated(x + recur(state))

    def activated(self, sums: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch hidden"]:
        """f of them."""
        return kernels.ACTIVATIONS[self.activation](sums) if self.slope is None else prelu(sums, self.slope)

    def scan(
        self, x: Float[Tensor, "row input"], state: Float[Tensor, "batch hidden"], **steps: Unpack[Steps]
    ) -> tuple[Float[Tensor, "row hidden"], Float[Tensor, "batch hidden"]]:
        """By longreach.kernels.elman."""
        return kernels.elman(x, *self.weights(), state, activation=self.activation, slope=self.slope, **steps)

    def extra_repr(self) -> str:
        """The arguments."""
        return super().extra_repr() + (f", activation={self.activation!r}" if self.activation != "tanh" else "")
