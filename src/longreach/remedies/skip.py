"""Skip connections through time (Lin, Horne, Tiňo & Giles 1996, IEEE Transactions on Neural Networks 7:1329-1338)."""

from typing import Any, TypeVar

import torch
from torch import nn

from longreach.errors import ArgumentError
from longreach.nn import cells
from longreach.remedies.anatomy import start_orthogonal
from longreach.remedies.apart import apart
from longreach.remedies.kept import Weights, wrap_all
from longreach.remedies.remedy import Remedy, wholly

M = TypeVar("M", bound=nn.Module)

# How V starts, by the number of gates: an orthogonal block for the one gate that writes, of a size at which gradients
# neither grow nor shrink much on the way through it (measured at torch's own start; docstring), and zeros for others.
WRITES = {1: (0, 0.9), 3: (2, 1.0), 4: (2, 3.0)}


@wholly
def skip(module: M, *, lag: int = 8) -> M:
    """Let every step of every recurrent layer see the state `lag` steps back as well: V hₜ₋ₖ is added to W_ih xₜ.

    V starts orthogonal where the new state is written (tanh; n of a GRU, g of an LSTM), times 0.9, 1 and 3; else 0.

    Promises   a way back of n / k steps for n lags. Adding problem, 64 units, torch's start: reach 8 becomes 149 of
               149, growth -0.5 a step becomes about 0
    Changes    the function; weights are kept, under the names of longreach.nn.cells, so make the optimizer after it
    Twice      is the same as once, with the first lag
    Undo       the layer from before it, with the weights that it had then
    Price      one product more at each step, lag · B · H numbers moved on, and a Python loop: on one core, for 32
               sequences and 64 units, 2 to 3 times as slow as torch's RNN or GRU, 5 to 8 times as slow as its LSTM
    Is not     a residual connection over layers
    Raises     NotApplicable where there is no recurrent layer; ArgumentError unless lag >= 1
    """
    if lag < 1:
        raise ArgumentError(f"lag: expected a number of steps, 1 or more, got {lag}")
    wrap_all(module, cells.Skip, "skip", _settle, lag=lag)
    return module


@torch.no_grad()
def _settle(cell: Any, _: Weights) -> None:
    gate, size = WRITES[cell.inner.gates]
    block = cell.weight_skip.zero_().split(cell.hidden_size)[gate]
    with apart("skip"):
        start_orthogonal(block, size)


REMEDY = Remedy(
    "skip",
    skip,
    "module",
    preserves=False,
    answers=("vanishing-in-time",),
    cost="a Python loop over the steps: 2 to 3 times as slow as torch's RNN or GRU, 5 to 8 times as its LSTM",
    source="Lin, Horne, Tiňo & Giles 1996, IEEE Transactions on Neural Networks 7:1329-1338",
)
