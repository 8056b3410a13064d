"""The swap to an LSTM (Hochreiter & Schmidhuber 1997, Neural Computation 9:1735-1780)."""

from typing import TypeVar

from torch import nn

from longreach.nn import LSTM, cells
from longreach.remedies.anatomy import recurrent_layers
from longreach.remedies.apart import apart
from longreach.remedies.remedy import Remedy
from longreach.remedies.substitute import like, put_in_place

M = TypeVar("M", bound=nn.Module)


def lstm(module: M) -> M:
    """Put an LSTM in the place of every RNN and GRU: cₜ = f·cₜ₋₁ + i·g carries the gradient by f alone.

    Promises   ∂cₜ/∂cₜ₋₁ = diag(f) on the way through the cell
    Changes    the function and the weights, which are drawn anew; make the optimizer after it
    Keeps      how the layer is called and what it gives: one state h goes in and out, c follows it
    Twice      is the same as once: an LSTM is left alone
    Undo       the layer from before, with the weights that it had then
    Price      four times the products of an RNN, a third more than a GRU
    Raises     NotApplicable where there is no RNN and no GRU
    """
    for layer in recurrent_layers(module, "lstm", "rnn", "gru"):
        with apart("lstm"):
            put_in_place(layer, lstm_like(layer), "lstm")
    return module


def lstm_like(layer):
    """An LSTM, or its cell, of the sizes of this layer."""
    weight = next(layer.parameters())
    if not isinstance(layer, nn.RNNBase):
        return like(layer, cells.LSTM)
    shape = (layer.input_size, layer.hidden_size, layer.num_layers)
    options = {"batch_first": layer.batch_first, "dropout": layer.dropout, "bidirectional": layer.bidirectional}
    return LSTM(*shape, **options, device=weight.device, dtype=weight.dtype)


REMEDY = Remedy(
    "lstm",
    lstm,
    "module",
    preserves=False,
    answers=("vanishing-in-time",),
    cost="four times the products of an RNN, a third more than a GRU",
    source="Hochreiter & Schmidhuber 1997, Neural Computation 9:1735-1780",
)
