"""An LSTM whose gates see its memory (Gers & Schmidhuber 2000, IJCNN 3:189-194)."""

from collections.abc import Callable
from typing import Any, Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn

from longreach import kernels
from longreach.kernels.walk import Steps
from longreach.nn.cells.lstm import LSTM, Memory
from longreach.nn.gates import Recur


class Peephole(LSTM):
    """i, f = σ(... + p cₜ₋₁),   g = tanh(...),   cₜ = f cₜ₋₁ + i g,   o = σ(... + p_o cₜ),   hₜ = o tanh(cₜ).

    ... is W xₜ + b + W' hₜ₋₁ + b' as in the LSTM; the three p are vectors: a unit sees its own memory alone.

    Jacobian   ∂cₜ/∂cₜ₋₁ = diag(f + cₜ₋₁ f' p_f + g i' p_i), and what goes through h and W'
    Carries    as an LSTM does, and can tell times apart without letting its memory out
    Equals     the LSTM when the three p are 0, as they are at the start
    Is not     a window on other units' memory: what those keep is seen through h alone
    Cost       the LSTM's, by the same kernel
    """

    def __init__(self, input_size: int, hidden_size: int, **options: Any):
        super().__init__(input_size, hidden_size, **options)
        self.peepholes = nn.Parameter(torch.zeros_like(self.weight_hh[: 3 * hidden_size, 0]))

    def step(
        self,
        x: Float[Tensor, "batch gates"],
        state: Memory,
        recur: Recur,
        read: Callable[[Tensor], Tensor] = torch.tanh,
    ) -> Memory:
        """What is kept, and what is read of it."""
        p_i, p_f, p_o = self.peepholes.chunk(3)
        i, f, g, o = (x + recur(state.h)).chunk(4, 1)
        c = torch.sigmoid(f + p_f * state.c) * state.c + torch.sigmoid(i + p_i * state.c) * torch.tanh(g)
        return Memory(torch.sigmoid(o + p_o * c) * read(c), c)

    def scan(
        self, x: Float[Tensor, "row input"], state: Memory, **steps: Unpack[Steps]
    ) -> tuple[Float[Tensor, "row hidden"], Memory]:
        """By longreach.kernels.lstm."""
        rows, h, c = kernels.lstm(x, *self.weights(), state.h, state.c, peephole=self.peepholes, **steps)
        return rows, Memory(h, c)
