"""Self-normalising networks (Klambauer, Unterthiner, Mayr & Hochreiter 2017, arXiv 1706.02515)."""

from typing import TypeVar

import torch
from torch import nn

from longreach.remedies.activation import activations_between, put_activation
from longreach.remedies.anatomy import plain_layers
from longreach.remedies.apart import apart
from longreach.remedies.remedy import Remedy, remember_weights, wholly

M = TypeVar("M", bound=nn.Module)


@wholly
def selu(module: M) -> M:
    """f(x) = 1.0507 x for x > 0, else 1.7581 (exp(x) - 1), in the place of other activations, and LeCun's start.

    The one is nothing without the other: where the weights of a unit have mean 0 and a sum of squares of 1, outputs
    with mean 0 and variance 1 are a fixed point from layer to layer, and attract. So plain layers (Linear and
    convolutions) start anew, N(0, 1/n) for n inputs, biases 0. Recurrent layers get the activation and
    keep their weights.

    Promises   at the start, mean 0 and variance 1 through any depth of plain layers, for inputs that have them
    Changes    the function; the weights of plain layers, where an activation between them was changed
    Twice      is the same as once
    Undo       activations and weights from before it
    Price      an exponential a unit
    Leaves     the last activation, after which no weights follow: it makes what the loss sees
    Is not     bounded above: a recurrent layer of it can blow up, so clip as well; nor for use with nn.Dropout, which
               takes mean and variance away (nn.AlphaDropout keeps them)
    Raises     NotApplicable where there is no activation to change; those that are called as functions are not seen
    """
    plain = plain_layers(module) if activations_between(module) else []
    put_activation(module, "selu")
    with apart("selu"), torch.no_grad():
        for layer in plain:
            remember_weights(layer, "selu")
            layer.weight.normal_(0, layer.weight[0].numel() ** -0.5)
            if layer.bias is not None:
                layer.bias.zero_()
    return module


REMEDY = Remedy(
    "selu",
    selu,
    "module",
    preserves=False,
    answers=("vanishing-in-depth", "exploding-in-depth", "saturated-units", "dead-units"),
    cost="an exponential a unit",
    source="Klambauer, Unterthiner, Mayr & Hochreiter 2017, arXiv 1706.02515",
)
