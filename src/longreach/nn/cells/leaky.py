"""The leaky integrator (Jaeger, Lukoševičius, Popovici & Siewert 2007, Neural Networks 20:335-352)."""

from typing import Any, Unpack

from jaxtyping import Float
from torch import Tensor

from longreach import kernels
from longreach.errors import ArgumentError
from longreach.kernels.walk import Steps
from longreach.nn.cells.elman import Elman
from longreach.nn.gates import Recur


class Leaky(Elman):
    """hₜ = (1 - a) hₜ₋₁ + a f(W_hh hₜ₋₁ + b_hh + W_ih xₜ + b_ih),   0 < a ≤ 1.

    Jacobian   (1 - a) I + a diag(f') W_hh
    Carries    through its first term: with W_hh = 0, half of a gradient is left after ln 2 / -ln(1 - a) steps, 7 for
               a = 0.1
    Equals     Elman's network when a = 1
    Is not     a gate: one number for all units and steps, and not learned
    Cost       Elman's, by the same kernel
    """

    def __init__(self, input_size: int, hidden_size: int, *, a: float = 0.1, **options: Any):
        if not 0 < a <= 1:
            raise ArgumentError(f"a: expected 0 < a <= 1, got {a}; for the network without a leak take a=1")
        super().__init__(input_size, hidden_size, **options)
        self.a = a

    def step(
        self, x: Float[Tensor, "batch hidden"], state: Float[Tensor, "batch hidden"], recur: Recur
    ) -> Float[Tensor, "batch hidden"]:
        """A part of the old state, and a part of Elman's new one."""
        return (1 - self.a) * state + self.a * super().step(x, state, recur)

    def scan(
        self, x: Float[Tensor, "row input"], state: Float[Tensor, "batch hidden"], **steps: Unpack[Steps]
    ) -> tuple[Float[Tensor, "row hidden"], Float[Tensor, "batch hidden"]]:
        """By longreach.kernels.elman."""
        leak = {"decay": 1 - self.a, "rate": self.a}
        return kernels.elman(x, *self.weights(), state, activation=self.activation, slope=self.slope, **leak, **steps)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{super().extra_repr()}, a={self.a}"
