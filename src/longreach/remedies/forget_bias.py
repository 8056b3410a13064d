"""Gates that start open for as long as the task lasts (Tallec & Ollivier 2018, arXiv 1804.11188)."""

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from longreach.errors import ArgumentError, NotApplicable
from longreach.nn import Recurrent
from longreach.remedies.anatomy import Layer, biases, kind_of, recurrent_layers
from longreach.remedies.apart import apart
from longreach.remedies.first_forward import at_first_forward, steps_of
from longreach.remedies.remedy import Remedy, remember_weights, wholly

M = TypeVar("M", bound=nn.Module)

DEFAULT = 100  # steps, for cells that are called step by step: nobody knows how often
LEAST = 3  # steps; below, all u are 1
GATED = {"lstm": ("f", "i"), "gru": ("z",)}  # what keeps the state, and what lets the new in where that is not 1 - it


@wholly
def forget_bias(module: M, *, horizon: int | None = None) -> M:
    """Start the gates of LSTM and GRU so that units forget over 2 to `horizon` steps: the chrono start.

    LSTM: b_f = ln u, b_i = -ln u; GRU: b_z = ln u, as z is what it keeps; u uniform in [1, horizon - 1] for each unit.
    Of the two biases of a gate, which are added, the other starts at 0.

    horizon    None: the length of the first sequences that the layer reads in training; 100 for cells called step by
               step
    Promises   a unit starts with a gate of σ(ln u) = u/(1 + u): a memory of about u steps, spread over the horizon
    Changes    these biases; with horizon=None in the first forward pass in training
    Twice      is the same as once
    Undo       the weights from before it
    Price      none
    Is not     a longer horizon than what is read: with truncation, give it the lag that is needed
    Raises     NotApplicable where no LSTM or GRU with biases is found; ArgumentError for a horizon below 3
    """
    if horizon is not None and horizon < LEAST:
        raise ArgumentError(
            f"horizon: expected {LEAST} steps or more, got {horizon}; the longest lag of the task is meant"
        )
    layers = [layer for layer in recurrent_layers(module, "forget-bias", *GATED) if biases(layer)]
    if not layers:
        raise NotApplicable(
            f"forget-bias: expected an LSTM or GRU with biases, got bias=False in {type(module).__name__}; with "
            "bias=True there is something to start"
        )
    readers = [part for part in module.modules() if isinstance(part, nn.RNNBase | Recurrent)]
    read = {id(part) for reader in readers for part in reader.modules()}
    for layer in layers:
        remember_weights(layer, "forget-bias")
        if horizon is not None or id(layer) not in read:
            _start(layer, horizon or DEFAULT)
    for reader in readers if horizon is None else ():
        at_first_forward(reader, "forget-bias", _start_for)
    return module


def _start_for(reader: nn.Module, input: Tensor | PackedSequence) -> None:
    for layer in reader.modules():
        if isinstance(layer, Layer) and kind_of(layer) in GATED:
            _start(layer, steps_of(reader, input))


def _start(layer: Layer, horizon: int) -> None:
    kind = kind_of(layer)
    with torch.no_grad(), apart("forget-bias"):
        for number, (kept, *taken) in enumerate(zip(*(biases(layer, gate) for gate in GATED[kind]), strict=True)):
            # b_ih and b_hh take turns: one is as asked for, the other 0
            kept.zero_() if number % 2 else kept.uniform_(1, max(horizon, LEAST) - 1).log_()
            for bias in taken:
                bias.copy_(-kept)


REMEDY = Remedy(
    "forget-bias",
    forget_bias,
    "module",
    preserves=False,
    answers=("vanishing-in-time",),
    cost="nothing",
    source="Tallec & Ollivier 2018, arXiv 1804.11188",
)
