"""The swap to a GRU (Cho et al. 2014, arXiv 1406.1078)."""

from typing import TypeVar

from torch import nn

from longreach.nn import GRU, cells
from longreach.remedies.anatomy import start_biases
from longreach.remedies.remedy import Remedy, wholly
from longreach.remedies.substitute import put_layers

M = TypeVar("M", bound=nn.Module)


@wholly
def gru(module: M, *, update_bias: float | None = None) -> M:
    """Put a GRU in the place of every RNN: hₜ = z·hₜ₋₁ + (1 - z)·n carries the gradient by z.

    update_bias   start of b_z; None: torch's start, where z is about 1/2 and reach no longer than an RNN's. For long
                  memory apply forget-bias after it
    Promises   diag(z) is a term of ∂hₜ/∂hₜ₋₁, z about σ(update_bias) at the start
    Changes    the function and the weights, which are drawn anew; make the optimizer after it
    Keeps      how the layer is called and what it gives: h, which is all that a GRU carries. Any start will do
    Twice      is the same as once: a GRU is left alone
    Undo       the layer from before, with the weights that it had then
    Price      three times the products of an RNN
    Is not     for an LSTM, which has what a GRU has
    Raises     NotApplicable where there is no RNN
    """
    for inner in put_layers(module, "gru", GRU, cells.GRU, "rnn"):
        if update_bias is not None:
            start_biases(inner, "z", update_bias)
    return module


REMEDY = Remedy(
    "gru",
    gru,
    "module",
    preserves=False,
    answers=("vanishing-in-time",),
    cost="three times the products of an RNN",
    source="Cho et al. 2014, arXiv 1406.1078",
)
