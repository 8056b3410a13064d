"""The antisymmetric network (Chang, Chen, Haber & Chi 2019, arXiv 1902.09689)."""

from typing import Any, Unpack

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

from longreach import kernels
from longreach.errors import ArgumentError
from longreach.kernels.walk import Steps
from longreach.nn.cells.elman import Elman
from longreach.nn.gates import Recur


class Antisymmetric(Elman):
    """hₜ = hₜ₋₁ + ε f((W - Wᵀ - γ I) hₜ₋₁ + b_hh + W_ih xₜ + b_ih),   W = weight_hh, f = tanh in the paper.

    Jacobian   I + ε diag(f') (W - Wᵀ - γ I): W - Wᵀ has imaginary eigenvalues only, so those of the Jacobian are near
               1, at 1 - ε f' γ ± i ε f' ω
    Carries    by its first term: Euler's steps of a differential equation that is stable and hardly forgets
    Equals     the paper's network with diffusion; W there is triangular, which gives the same W - Wᵀ
    Is not     the gated form; and not stable for every ε: γ > 0 has to make up for Euler's method
    Cost       Elman's, by the same kernel
    """

    def __init__(self, input_size: int, hidden_size: int, *, epsilon: float = 0.1, gamma: float = 0.01, **options: Any):
        if not epsilon > 0:
            raise ArgumentError(f"epsilon: expected the length of a step, above 0, got {epsilon}")
        super().__init__(input_size, hidden_size, **options)
        self.epsilon, self.gamma = epsilon, gamma

    def transition(self) -> Float[Tensor, "hidden hidden"]:
        """W - Wᵀ - γ I."""
        friction = self.gamma * torch.eye(self.hidden_size, dtype=self.weight_hh.dtype, device=self.weight_hh.device)
        return self.weight_hh - self.weight_hh.T - friction

    def recur(self, h: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch hidden"]:
        """(W - Wᵀ - γ I) hₜ₋₁ + b_hh."""
        return linear(h, self.transition(), self.bias_hh)

    def step(
        self, x: Float[Tensor, "batch hidden"], state: Float[Tensor, "batch hidden"], recur: Recur
    ) -> Float[Tensor, "batch hidden"]:
        """One step of Euler's."""
        return state + self.epsilon * super().step(x, state, recur)

    def scan(
        self, x: Float[Tensor, "row input"], state: Float[Tensor, "batch hidden"], **steps: Unpack[Steps]
    ) -> tuple[Float[Tensor, "row hidden"], Float[Tensor, "batch hidden"]]:
        """By longreach.kernels.elman."""
        weights = (self.weight_ih, self.transition(), self.bias_ih, self.bias_hh)
        options: Any = {"activation": self.activation, "slope": self.slope, "decay": 1.0, "rate": self.epsilon}
        return kernels.elman(x, *weights, state, **options, **steps)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{super().extra_repr()}, epsilon={self.epsilon}, gamma={self.gamma}"
