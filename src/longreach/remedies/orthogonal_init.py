"""Random orthogonal matrices as a start (Saxe, McClelland & Ganguli 2014, arXiv 1312.6120; Henaff et al. 2016)."""

from typing import TypeVar

import torch
from torch import nn

from longreach.errors import ArgumentError, NotApplicable
from longreach.remedies.anatomy import biases, check_parameters, kind_of, recurrent_layers, squares, start_orthogonal
from longreach.remedies.apart import apart
from longreach.remedies.remedy import Remedy, remember_weights, wholly

M = TypeVar("M", bound=nn.Module)


@wholly
def orthogonal_init(module: M, *, gain: float = 1.0) -> M:
    """Start every square of W_hh, one for each gate, as `gain` times a random orthogonal matrix; without gates, b = 0.

    Promises   W_hhᵀ W_hh = gain² I at the start: in a linear network ‖∂hₜ/∂hₜ₋ₖ v‖ = gainᵏ ‖v‖ for every v
    Changes    W_hh; of layers without gates the biases too, as tanh' = 1 only at 0. W_ih stays
    Twice      is the same as once
    Undo       the weights from before it
    Price      none
    Is not     kept during training: see orthogonal. In gates it is a start that treats all directions alike, no promise
               of reach: what carries a gradient there is the forget gate, see forget_bias. For plain layers see
               scaled_init
    Raises     NotApplicable where no recurrent layer is found; ArgumentError unless gain > 0
    """
    if not gain > 0:
        raise ArgumentError(f"gain: expected a number above 0, got {gain}; 1 neither shrinks nor stretches")
    layers = [layer for layer in recurrent_layers(module, "orthogonal-init") if not getattr(layer, "proj_size", 0)]
    if not layers:
        raise NotApplicable(
            f"orthogonal-init: expected a recurrent layer without a projection, got {type(module).__name__} with "
            "proj_size above 0, whose weights are no squares"
        )
    for layer in layers:
        check_parameters(layer, "orthogonal-init")
        remember_weights(layer, "orthogonal-init")
        with torch.no_grad(), apart("orthogonal-init"):
            for square in squares(layer):
                start_orthogonal(square, gain)
            for bias in biases(layer) if kind_of(layer) == "rnn" else ():
                bias.zero_()
    return module


REMEDY = Remedy(
    "orthogonal-init",
    orthogonal_init,
    "module",
    preserves=False,
    answers=("vanishing-in-time", "exploding-in-time"),
    cost="nothing",
    source="Saxe, McClelland & Ganguli 2014, arXiv 1312.6120",
)
