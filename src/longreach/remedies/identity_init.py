"""The identity as a start (Le, Jaitly & Hinton 2015, arXiv 1504.00941)."""

from typing import TypeVar

import torch
from torch import nn

from longreach.errors import ArgumentError
from longreach.remedies.anatomy import activation_of, biases, check_parameters, recurrent_layers, squares
from longreach.remedies.relu import relu
from longreach.remedies.remedy import Remedy, remember_weights, wholly

M = TypeVar("M", bound=nn.Module)


@wholly
def identity_init(module: M, *, scale: float = 1.0) -> M:
    """Start every recurrent layer without gates from W_hh = scale · I, b = 0, with rectifiers.

    hₜ = relu(hₜ₋₁ + W_ih xₜ): a unit keeps what it holds and adds to it.

    Promises   gain(k) = scaleᵏ at the start, along units that are on: ∂hₜ/∂hₜ₋₁ = scale · diag(f'), f' = 1 where h > 0
    Changes    W_hh, biases and the activation; W_ih stays
    Twice      is the same as once
    Undo       the weights and the activation from before it
    Price      none
    Is not     kept during training: the norm may grow like λᵏ soon, so clip as well
    Raises     NotApplicable where no layer without gates is found: in a GRU or LSTM the forget gate keeps what the
               identity keeps here, see forget_bias; ArgumentError unless scale > 0
    """
    if not scale > 0:
        raise ArgumentError(
            f"scale: expected a number above 0, got {scale}; the paper has 1, and 0.01 for short memory"
        )
    for layer in recurrent_layers(module, "identity-init", "rnn"):
        check_parameters(layer, "identity-init")
        if activation_of(layer) != "relu":
            relu(layer)
        remember_weights(layer, "identity-init")
        with torch.no_grad():
            for square in squares(layer):
                nn.init.eye_(square).mul_(scale)
            for bias in biases(layer):
                bias.zero_()
    return module


REMEDY = Remedy(
    "identity-init",
    identity_init,
    "module",
    preserves=False,
    answers=("vanishing-in-time",),
    cost="nothing",
    source="Le, Jaitly & Hinton 2015, arXiv 1504.00941",
)
