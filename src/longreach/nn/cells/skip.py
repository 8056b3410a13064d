"""Skip connections through time (Lin, Horne, Tiňo & Giles 1996, IEEE Transactions on Neural Networks 7:1329-1338)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from longreach.nn.cell import Cell, State, Step, entries
from longreach.nn.cells.delayed import Delay, Delayed
from longreach.nn.weights import uniform


class Skip(Delay):
    """hₜ = cell(xₜ + V hₜ₋ₖ, hₜ₋₁): every gate sees the state of k = `lag` steps back beside the last one.

    V hₜ₋ₖ is added to what the cell projects its input to: W_ih xₜ + b_ih in Elman's network, GRU and LSTM.

    Jacobian   ∂hₜ/∂hₜ₋ₖ has a direct term: diag(f') V in Elman's network
    Carries    n lags in n / k steps through that term
    Equals     the inner cell where V is 0; a NARX network, whose output is fed back with delays
    Is not     a dilation, which sees hₜ₋ₖ in the place of hₜ₋₁ (dilated.py), nor a residual connection over layers
    Cost       one product more at each step, and a loop: no fused form

    inner, options   the cell, and what else it is built with
    """

    def __init__(self, input_size: int, hidden_size: int, *, inner: Callable[..., Cell], lag: int, **options: Any):
        super().__init__(inner, input_size, hidden_size, lag=lag, **options)
        like = next(self.parameters())
        with torch.no_grad():
            width = self.inner.project(like.new_zeros(0, input_size)).shape[1]
        place = {"device": like.device, "dtype": like.dtype}
        self.weight_skip = uniform(width, self.hidden_size, within=self.hidden_size**-0.5, **place)

    def from_afar(self, step: Step, x: Tensor, state: Delayed) -> State:
        """A step with more in its input."""
        h = entries(self.oldest(state))[0]
        return step(x + linear(h, self.weight_skip), state.now)
