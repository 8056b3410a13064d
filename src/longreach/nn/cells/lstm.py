"""Long short-term memory with forget gates (Gers, Schmidhuber & Cummins 2000, Neural Computation 12:2451-2471)."""

from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import torch
from jaxtyping import Float
from torch import Tensor

from longreach import kernels
from longreach.errors import ArgumentError
from longreach.kernels.walk import Steps
from longreach.nn.gates import GateCell, Recur


class Memory(NamedTuple):
    """The state of an LSTM: what it shows, h [B, H], and what it keeps, c [B, H]."""

    h: Tensor
    c: Tensor


class LSTM(GateCell):
    """i, f, o = σ(W xₜ + b + W' hₜ₋₁ + b'),   g = tanh(the same),   cₜ = f cₜ₋₁ + i g,   hₜ = o tanh(cₜ).

    Jacobian   ∂cₜ/∂cₜ₋₁ = diag(f), and what goes through h and W'
    Carries    in c, where f is near 1: k steps keep about fᵏ. With f = σ(forget_bias): σ(0) = 1/2, σ(1) = 0.73
    Equals     torch.nn.LSTM, weight for weight (gates in the order i, f, g, o)
    Is not     the LSTM of 1997, which has no forget gate; peephole.py has gates that see c
    Cost       four products with matrices [H, H] a step; all steps in one fused kernel

    forget_bias   start of the forget gate's bias (Jozefowicz, Zaremba & Sutskever 2015, ICML: 1)
    chrono        longest lag T of the task: forget biases start at ln u, u uniform in [1, T - 1], input biases at the
                  negative (Tallec & Ollivier 2018, arXiv 1804.11188)
    """

    gates = 4
    names = Memory._fields

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        forget_bias: float | None = None,
        chrono: int | None = None,
        bias: bool = True,
        **options: Any,
    ):
        if forget_bias is not None and chrono is not None:
            raise ArgumentError("forget_bias, chrono: expected one of them, got both; chrono sets the forget bias too")
        if not bias and (forget_bias is not None or chrono is not None):
            raise ArgumentError("bias: expected True, since forget_bias and chrono are starts of biases, got False")
        if chrono is not None and chrono < 3:
            raise ArgumentError(f"chrono: expected the longest lag of the task, 3 steps or more, got {chrono}")
        self.forget_bias, self.chrono = forget_bias, chrono
        super().__init__(input_size, hidden_size, bias=bias, **options)

    def reset_parameters(self) -> None:
        """Every weight as it starts; of a gate's two biases, which are summed, one as is asked for and one zero."""
        super().reset_parameters()
        if self.bias_ih is None or self.bias_hh is None:
            return
        i, f, _, _ = self.bias_ih.detach().chunk(4)
        i_h, f_h, _, _ = self.bias_hh.detach().chunk(4)
        if self.forget_bias is not None:
            f.fill_(self.forget_bias)
            f_h.zero_()
        if self.chrono is not None:
            f.uniform_(1, self.chrono - 1).log_()
            i.copy_(-f)
            f_h.zero_()
            i_h.zero_()

    def start(self, batch: int, *, like: Tensor) -> Memory:
        """Zeros."""
        return Memory(like.new_zeros(batch, self.hidden_size), like.new_zeros(batch, self.hidden_size))

    def step(
        self,
        x: Float[Tensor, "batch gates"],
        state: Memory,
        recur: Recur,
        read: Callable[[Tensor], Tensor] = torch.tanh,
    ) -> Memory:
        """What is kept, and what is read of it."""
        i, f, g, o = (x + recur(state.h)).chunk(4, 1)
        c = torch.sigmoid(f) * state.c + torch.sigmoid(i) * torch.tanh(g)
        return Memory(torch.sigmoid(o) * read(c), c)

    def scan(
        self, x: Float[Tensor, "row input"], state: Memory, **steps: Unpack[Steps]
    ) -> tuple[Float[Tensor, "row hidden"], Memory]:
        """By longreach.kernels.lstm."""
        rows, h, c = kernels.lstm(x, *self.weights(), state.h, state.c, **steps)
        return rows, Memory(h, c)

    def extra_repr(self) -> str:
        """The arguments."""
        options = {"forget_bias": self.forget_bias, "chrono": self.chrono}
        given = [f", {name}={value}" for name, value in options.items() if value is not None]
        return super().extra_repr() + "".join(given)
