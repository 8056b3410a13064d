"""The parts of recurrent layers, by the names that the literature gives them."""

from collections.abc import Iterator

from torch import Tensor, nn

from longreach import nn as ours
from longreach.errors import NotApplicable
from longreach.nn.gates import GateCell

# Layers that torch, or a user, builds as one module: whole sequences, or one step of them.
Layer = nn.RNNBase | nn.RNNCellBase | GateCell

# The order in which torch lays out the gates of a weight.
GATES = {"rnn": ("h",), "gru": ("r", "z", "n"), "lstm": ("i", "f", "g", "o")}


def recurrent_layers(module: nn.Module, verb: str, *kinds: str) -> list[Layer]:
    """All recurrent layers within a module, itself included, of these kinds ("rnn", "gru", "lstm"; all if none).

    Raises  NotApplicable if there is none
    """
    found = [part for part in module.modules() if isinstance(part, Layer) and kind_of(part) in (kinds or GATES)]
    if not found:
        wanted = " or ".join({"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}[kind] for kind in kinds or GATES)
        raise NotApplicable(
            f"{verb}: expected a torch {wanted}, its cell, or a model that holds one, got {type(module).__name__}, "
            "which has none; a network that multiplies its state with a weight of its own is not seen"
        )
    return found


def kind_of(layer: Layer) -> str:
    """ "rnn", "gru" or "lstm": what gates it has."""
    if isinstance(layer, nn.RNNBase):
        return layer.mode.split("_")[0].lower()
    if isinstance(layer, nn.RNNCellBase):
        return "lstm" if isinstance(layer, nn.LSTMCell) else "gru" if isinstance(layer, nn.GRUCell) else "rnn"
    return {1: "rnn", 3: "gru", 4: "lstm"}[layer.gates]


def activation_of(layer: Layer) -> str:
    """The activation of a layer without gates: "tanh", "relu" or another of longreach.kernels.ACTIVATIONS."""
    if isinstance(layer, ours.cells.Elman):
        return layer.activation
    return str(getattr(layer, "nonlinearity", "tanh"))


def weights(layer: Layer, start: str) -> Iterator[Tensor]:
    """The parameters whose names begin with `start`, one for each stacked layer and direction."""
    return (own for name, own in layer.named_parameters(recurse=False) if name.startswith(start))


def squares(layer: Layer, gate: str | None = None) -> list[Tensor]:
    """The square blocks of the recurrent weights, [H, H], of one gate or of all; views that can be written to."""
    names = GATES[kind_of(layer)]
    blocks = [weight.detach().chunk(len(names)) for weight in weights(layer, "weight_hh")]
    return [block for of_place in blocks for name, block in zip(names, of_place, strict=True) if gate in (None, name)]


def biases(layer: Layer, gate: str | None = None) -> list[Tensor]:
    """The bias vectors, [H], of one gate or of all: both of them, b_ih and b_hh; views that can be written to."""
    names = GATES[kind_of(layer)]
    blocks = [weight.detach().chunk(len(names)) for weight in weights(layer, "bias")]
    return [block for of_place in blocks for name, block in zip(names, of_place, strict=True) if gate in (None, name)]
