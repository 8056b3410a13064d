"""Variational dropout (Gal & Ghahramani 2016, arXiv 1512.05287)."""

from typing import Any, TypeVar

from torch import nn

from longreach.errors import ArgumentError, NotApplicable
from longreach.nn import cells
from longreach.remedies.apart import generator_apart
from longreach.remedies.kept import torch_layers, wrap_all
from longreach.remedies.remedy import Remedy, wholly

M = TypeVar("M", bound=nn.Module)


@wholly
def variational_dropout(module: M, *, p_input: float = 0.25, p_state: float = 0.25) -> M:
    """Drop units of the inputs and of the state of every recurrent layer: the same ones at all steps of a sequence.

    p_input, p_state   shares that are dropped; what is left is scaled up
    Promises   what passes by the gates, an LSTM's c or z·h in a GRU, is never dropped: memory is not worn down
    Changes    nothing in evaluation; weights are kept, under the names of longreach.nn.cells, so make the optimizer
               after it
    Twice      is the same as once, with the first shares
    Undo       the layer from before it, with the weights that it had then
    Price      one product with W_ih more at each step, and a Python loop: on one core, for 32 sequences and 64 units,
               1.5 to 2 times as slow as torch's RNN or GRU, 3 to 5 times as slow as its LSTM
    Is not     for a gradient that vanishes: it is for a network that learns its sequences by heart
    Raises     NotApplicable where there is no recurrent layer, and for cells that the script calls step by step, which
               do not know where a sequence begins; ArgumentError unless both shares are at least 0 and below 1
    """
    for name, p in (("p_input", p_input), ("p_state", p_state)):
        if not 0 <= p < 1:
            raise ArgumentError(f"{name}: expected a share, 0 <= {name} < 1, got {p}")
    steps = [type(layer).__name__ for layer in torch_layers(module) if isinstance(layer, nn.RNNCellBase)]
    if steps:
        raise NotApplicable(
            f"variational-dropout: expected layers that are given whole sequences, got {steps[0]}, which does not know "
            "where one begins; draw a mask in the script's own loop, and multiply its input and state with it"
        )
    options: dict[str, Any] = {
        "p_input": p_input,
        "p_state": p_state,
        "generator": generator_apart("variational-dropout"),
    }
    wrap_all(module, cells.Variational, "variational-dropout", **options)
    return module


REMEDY = Remedy(
    "variational-dropout",
    variational_dropout,
    "module",
    preserves=True,
    answers=(),
    cost="a Python loop over the steps: 1.5 to 2 times as slow as torch's RNN or GRU, 3 to 5 times as its LSTM",
    source="Gal & Ghahramani 2016, arXiv 1512.05287",
)
