"""Layers of torch's become ours, in a model that is there or as a script builds them: the same numbers, sooner."""

from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.modules import rnn

from longreach.nn.layers import GRU, LSTM, RNN

Model = TypeVar("Model", bound=nn.Module)

OURS: dict[type[nn.Module], type[nn.RNNBase]] = {ours.twin: ours for ours in (RNN, GRU, LSTM)}


def accelerate(model: Model) -> Model:
    """Every torch.nn.RNN, GRU and LSTM in the model becomes ours where it stands; gives the model.

    Keeps    everything: parameters, hooks, mode, names, what an optimizer holds
    Leaves   whatever is of another class, subclasses of torch's layers among it, which may do anything
    Twice    is the same as once
    Undo     none in place: `layer.to_torch()` gives a copy as torch's
    """
    for module in model.modules():
        if type(module) in OURS:
            layer: Any = module
            layer.__class__ = OURS[type(module)]
    return model


def stand_in_for_torch() -> None:
    """From now on torch.nn.RNN, GRU and LSTM are ours, by these names: what is built, subclassed or loaded is ours.

    What was built before stays as it is. Models are pickled under torch's names: without us they load as torch's.
    torch.compile treats these as torch's own: compiled code is left at each of them, where a watch can see it.
    torch.ao's dynamic quantization knows torch's own classes alone, and leaves these in their float type.
    Undo     none: meant for the process of a script, before its first line
    """
    for twin, ours in OURS.items():
        name = twin.__name__
        # torch.compile does not look into what it takes for torch's; it shall not compile what it finds below, either
        forward = torch.compiler.disable(ours.forward)
        stand_in = type(name, (ours,), {"__module__": rnn.__name__, "__doc__": twin.__doc__, "forward": forward})
        for home in (rnn, nn.modules, nn):
            setattr(home, name, stand_in)
