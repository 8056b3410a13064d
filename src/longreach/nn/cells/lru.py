"""The linear recurrent unit (Orvieto et al. 2023, arXiv 2303.06349)."""

from math import pi
from typing import Any, Unpack

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn
from torch.nn.functional import linear as product

from longreach.errors import ArgumentError
from longreach.kernels.half import HALVES
from longreach.kernels.linear import linear
from longreach.kernels.walk import Steps
from longreach.nn.cell import Cell


class LRU(Cell):
    """hₜ = λ hₜ₋₁ + γ B xₜ,   yₜ = Re(C hₜ),   λ = exp(-exp ν + i exp θ): complex, one for each unit.

    Jacobian   diag(λ), whatever h is, and |λ| < 1 for every ν: it never explodes
    Carries    |λ|ᵏ after k steps, at the frequency exp θ; |λ| starts within [r_min, r_max]
    Equals     a diagonal linear state space, discrete from the start
    Is not     the paper's block, which adds D xₜ, a norm, and a gated layer around it: residual=True of Recurrent is
               D = I. What is not linear must come from there
    Cost       all steps at once: a linear recurrence, 2 √T sweeps; the state is complex, [B, H]

    r_min, r_max   range that |λ|² starts uniform in, squared: λ lies uniformly in the ring (lemma 3.2)
    max_phase      angles of λ start uniform in [0, max_phase]
    γ              starts at √(1 - |λ|²), which gives all units the same size; then it is learned
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        r_min: float = 0.0,
        r_max: float = 1.0,
        max_phase: float = 2 * pi,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(hidden_size)
        if not 0 <= r_min < r_max <= 1:
            raise ArgumentError(f"r_min, r_max: expected 0 <= r_min < r_max <= 1, got {r_min} and {r_max}")
        place: Any = {"device": device, "dtype": dtype}
        squared = torch.empty(hidden_size, **place).uniform_(r_min**2, r_max**2).clamp(1e-8, 1 - 1e-6)
        angle = torch.empty(hidden_size, **place).uniform_(0, max_phase).clamp(min=1e-8)
        self.nu = nn.Parameter((-0.5 * squared.log()).log())
        self.theta = nn.Parameter(angle.log())
        self.gamma = nn.Parameter(0.5 * (1 - squared).log())
        # real and imaginary parts: [2, H, I] and [2, H, H]
        self.B = nn.Parameter(torch.randn(2, hidden_size, input_size, **place) / (2 * input_size) ** 0.5)
        self.C = nn.Parameter(torch.randn(2, hidden_size, hidden_size, **place) / hidden_size**0.5)

    def factors(self) -> Complex[Tensor, "hidden"]:
        """λ."""
        return torch.polar(torch.exp(-torch.exp(self.nu)), torch.exp(self.theta))

    def start(self, batch: int, *, like: Tensor) -> Complex[Tensor, "batch hidden"]:
        """Zeros, complex."""
        if like.dtype in HALVES:
            raise ArgumentError(
                f"input: expected float32 or float64, as no complex numbers are made of {like.dtype}, got it; "
                "under torch.autocast an LRU computes in the type of its weights"
            )
        zeros = like.new_zeros(batch, self.hidden_size)
        return torch.complex(zeros, zeros)

    def project(self, x: Float[Tensor, "row input"]) -> Complex[Tensor, "row hidden"]:
        """γ B xₜ."""
        pairs = (torch.exp(self.gamma)[:, None] * self.B).transpose(0, 1).flatten(0, 1)  # as complex numbers lie
        return torch.view_as_complex(product(x, pairs).unflatten(1, (-1, 2)))

    def forward(
        self, x: Complex[Tensor, "batch hidden"], state: Complex[Tensor, "batch hidden"]
    ) -> Complex[Tensor, "batch hidden"]:
        """One step."""
        return self.factors() * state + x

    def output(self, state: Complex[Tensor, "row hidden"]) -> Float[Tensor, "row hidden"]:
        """Re(C hₜ)."""
        pairs = torch.stack((self.C[0], -self.C[1]), dim=2).flatten(1)
        return product(torch.view_as_real(state).flatten(1), pairs)

    def scan(
        self, x: Float[Tensor, "row input"], state: Complex[Tensor, "batch hidden"], **steps: Unpack[Steps]
    ) -> tuple[Float[Tensor, "row hidden"], Complex[Tensor, "batch hidden"]]:
        """By longreach.kernels.linear."""
        h, h_n = linear(self.project(x), self.factors(), state, **steps)
        return self.output(h), h_n
