"""The parts of recurrent layers, by the names that the literature gives them."""

from collections import Counter
from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from longreach import nn as ours
from longreach.errors import NotApplicable
from longreach.nn.accelerating import OURS
from longreach.nn.gates import GateCell
from longreach.remedies.remedy import remember_structure

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


def become_ours(layer: nn.Module, verb: str) -> None:
    """Where torch's own layer cannot do what is asked for: it becomes ours, in place, with all that it holds.

    Cells, and what is ours already, stay what they are. `undo` puts class and parts back, whatever is done to them next
    Raises  NotApplicable for a class of the user's, which may do anything
    """
    known = (*OURS.values(), nn.RNNCellBase, GateCell, ours.Recurrent)
    if type(layer) not in OURS and not isinstance(layer, known):
        raise NotApplicable(
            f"{verb}: expected a layer of torch or of longreach.nn, got {type(layer).__name__}, a class that was made "
            "from torch's; make it from the class of the same name in longreach.nn"
        )
    remember_structure(layer, verb)
    ours.accelerate(layer)


def weights(layer: Layer, start: str) -> Iterator[Tensor]:
    """The parameters whose names begin with `start`, one for each stacked layer and direction."""
    return (own for name, own in layer.named_parameters(recurse=False) if name.startswith(start))


def check_parameters(layer: nn.Module, verb: str) -> None:
    """Weights that are computed from others have no start of their own.

    Raises  NotApplicable where there are such
    """
    if parametrize.is_parametrized(layer):
        raise NotApplicable(
            f"{verb}: expected recurrent weights that are parameters, got some that are computed from others, as after "
            "orthogonal or weight_norm; apply what starts them first"
        )


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


@torch.no_grad()
def start_biases(layer: Layer, gate: str, value: float) -> None:
    """Start a gate at this value: of its two biases, which are added, the one is it and the other 0."""
    for number, bias in enumerate(biases(layer, gate)):
        bias.fill_(0.0 if number % 2 else value)


def has_weights(part: nn.Module) -> bool:
    """Whether a part holds parameters itself, slopes of an activation not counted."""
    return not isinstance(part, nn.PReLU) and any(True for _ in part.parameters(recurse=False))


Plain = nn.Linear | nn.modules.conv._ConvNd


def plain_layers(module: nn.Module) -> list[Plain]:
    """All Linear and convolution layers within a module that are not part of a recurrent one.

    Left out is what has no weight of its own, to be started: one that is computed, or that two layers share.
    """
    inner = {id(part) for layer in module.modules() if isinstance(layer, Layer) for part in layer.modules()}
    found = [part for part in module.modules() if isinstance(part, Plain) and id(part) not in inner]
    return unshared([part for part in found if "weight" in part._parameters])


P = TypeVar("P", bound=nn.Module)


def unshared(layers: list[P]) -> list[P]:
    """Those of the layers none of whose parameters another of them holds."""
    held = Counter(id(own) for layer in layers for own in layer.parameters())
    return [layer for layer in layers if all(held[id(own)] == 1 for own in layer.parameters())]


@torch.no_grad()
def start_orthogonal(weight: Tensor, gain: float = 1.0) -> None:
    """Random and orthogonal, times a gain; drawn in float64 on the CPU: there is no QR decomposition of half floats."""
    weight.copy_(nn.init.orthogonal_(torch.empty(weight.shape, dtype=torch.float64), gain))
