"""Layers of torch's become ours, in place: same parameters, same numbers, sooner."""

from typing import Any, TypeVar

from torch import nn

from longreach.nn.layers import GRU, LSTM, RNN

Model = TypeVar("Model", bound=nn.Module)

OURS: dict[type[nn.Module], type[nn.RNNBase]] = {ours.twin: ours for ours in (RNN, GRU, LSTM)}


def accelerate(model: Model) -> Model:
    """Every torch.nn.RNN, GRU and LSTM in the model becomes ours where it stands; gives the model.

    Keeps    everything: parameters, hooks, mode, names, what an optimizer holds
    Leaves   subclasses of torch's layers alone, which may do anything, and everything else
    Twice    is the same as once
    Undo     torch.nn.LSTM's own methods again: `layer.to_torch()`, a copy
    """
    for module in model.modules():
        if type(module) in OURS:
            layer: Any = module
            layer.__class__ = OURS[type(module)]
    return model
