"""Layer normalisation (Ba, Kiros & Hinton 2016, arXiv 1607.06450)."""

from typing import Any

import torch
from torch import Tensor, nn

from longreach.nn.cell import State
from longreach.nn.cells.lstm import LSTM
from longreach.nn.gates import GateWrapper


class LayerNorm(GateWrapper):
    """Gates see norm(W_ih xₜ) + norm'(W_hh hₜ₋₁) for their sum; an LSTM shows o tanh(norm''(cₜ)).

    norm(a) = g (a - mean) / deviation + b over the units of a row; g starts at 1, b at 0. Elman's network, which has
    one gate, sees norm(W_ih xₜ + W_hh hₜ₋₁).

    Jacobian   the inner cell's, its gates' part divided by their deviation and freed of what is common to all units
    Carries    as the inner cell, at any size of its weights: twice W_hh gives the same h
    Equals     the paper's equation 4, and the forms of LSTM and GRU in its supplement
    Is not     batch normalisation: no row sees another one, and training is as evaluation
    Cost       the norms at every step, and a loop: no fused form

    inner, options   the cell, one with gates, and what else it is built with; its biases are those of the norms
    """

    def __init__(self, input_size: int, hidden_size: int, **options: Any):
        super().__init__(input_size, hidden_size, bias=False, **options)
        width, weight = self.inner.gates * hidden_size, self.inner.weight_ih
        place: Any = {"device": weight.device, "dtype": weight.dtype}
        self.norm_x = nn.LayerNorm(width, **place)
        self.norm_h = nn.LayerNorm(width, bias=False, **place) if self.inner.gates > 1 else None
        self.norm_c = nn.LayerNorm(hidden_size, **place) if isinstance(self.inner, LSTM) else None

    def project(self, x: Tensor) -> Tensor:
        """What the gates get of the input, normalised where it is so by itself."""
        x = self.inner.project(x)
        return x if self.norm_h is None else self.norm_x(x)

    def step(self, x: Tensor, state: State) -> State:
        """The inner cell's step, with norms before its gates."""
        recur, norm_x, norm_h, norm_c = self.inner.recur, self.norm_x, self.norm_h, self.norm_c
        if norm_h is None:
            return self.inner.step(torch.zeros_like(x), state, lambda h: norm_x(x + recur(h)))
        if norm_c is None:
            return self.inner.step(x, state, lambda h: norm_h(recur(h)))
        assert isinstance(self.inner, LSTM)
        return self.inner.step(x, state, lambda h: norm_h(recur(h)), lambda c: torch.tanh(norm_c(c)))
