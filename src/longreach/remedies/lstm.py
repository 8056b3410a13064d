"""The swap to an LSTM (Hochreiter & Schmidhuber 1997, Neural Computation 9:1735-1780)."""

from typing import TypeVar

from torch import nn

from longreach.nn import LSTM, cells
from longreach.remedies.anatomy import start_biases
from longreach.remedies.remedy import Remedy, wholly
from longreach.remedies.substitute import put_layers

M = TypeVar("M", bound=nn.Module)


@wholly
def lstm(module: M, *, forget_bias: float | None = None) -> M:
    """Put an LSTM in the place of every RNN and GRU: cₜ = f·cₜ₋₁ + i·g carries the gradient by f alone.

    forget_bias   start of b_f (Jozefowicz, Zaremba & Sutskever 2015: 1); None: torch's start, where f is about 1/2 and
                  reach no longer than an RNN's. For long memory apply forget-bias after it
    Promises   ∂cₜ/∂cₜ₋₁ = diag(f) on the way through the cell, f about σ(forget_bias) at the start
    Changes    the function and the weights, which are drawn anew; make the optimizer after it
    Keeps      how the layer is called and what it gives: one state h goes in and out, c follows it
    Twice      is the same as once: an LSTM is left alone
    Undo       the layer from before, with the weights that it had then
    Price      four times the products of an RNN, a third more than a GRU
    Is not     for a state that the script chooses, changes or learns: c could not follow it
    Raises     NotApplicable where there is no RNN and no GRU; in a later call, for such a state
    """
    for inner in put_layers(module, "lstm", LSTM, cells.LSTM, "rnn", "gru"):
        if forget_bias is not None:
            start_biases(inner, "f", forget_bias)
    return module


REMEDY = Remedy(
    "lstm",
    lstm,
    "module",
    preserves=False,
    answers=("vanishing-in-time",),
    cost="four times the products of an RNN, a third more than a GRU",
    source="Hochreiter & Schmidhuber 1997, Neural Computation 9:1735-1780",
)
