"""Plain layers that start at the scale of the data (Krähenbühl et al. 2016, arXiv 1511.06856; Mishkin & Matas 2016)."""

from typing import Any, TypeVar

import torch
from torch import nn

from longreach.errors import NotApplicable
from longreach.remedies.anatomy import plain_layers, start_orthogonal
from longreach.remedies.apart import apart
from longreach.remedies.first_forward import at_first_forward
from longreach.remedies.remedy import Remedy, remember_weights, wholly

M = TypeVar("M", bound=nn.Module)

FEW = 2  # layers: one has no depth


@wholly
def scaled_init(module: M) -> M:
    """Start every Linear and convolution layer with orthogonal weights, then scale it by the first batch of training.

    When a layer is first called in training, weights and bias are set so that its outputs have mean 0 for each unit and
    variance 1 over all: W / s, b = -mean / s. Layer by layer, each sees what those before it give then. So nothing has
    to be known of the activations, be they modules or called as functions, as with the scales of Glorot & Bengio (2010,
    AISTATS 9:249-256) and He et al. (2015, arXiv 1502.01852); and what is common to all outputs of a sigmoid, which
    drowns what differs, is taken off by the bias.

    Promises   at the first batch, outputs of every such layer with mean 0 and variance 1: none saturates, none fades.
               A layer then scales the gradient by √(E f'(z)² / Var f(z)), z ~ N(0, 1), where it is wide: 1.21 for
               rectifiers, 1.08 for tanh, 1.02 for sigmoid
    Changes    weights and biases of these layers; the scale in the first forward pass in training
    Twice      is the same as once
    Undo       the weights from before it
    Price      every such layer is called twice in the first pass
    Leaves     recurrent layers, see orthogonal_init; scale and shift of layers that normalise; weights that two layers
               share, or that are computed
    Is not     exact for a layer without a bias, whose mean stays; nor for one that is called many times a pass, as in a
               loop over time that is written by hand: its first call counts. Processes that train together each see
               their own batch: broadcast the weights after the first step
    Raises     NotApplicable where there are fewer than two such layers
    """
    layers = plain_layers(module)
    if len(layers) < FEW:
        raise NotApplicable(
            f"scaled-init: expected two or more Linear or convolution layers with weights of their own, got "
            f"{len(layers)} in {type(module).__name__}; for recurrent layers see orthogonal-init and identity-init"
        )
    for layer in layers:
        remember_weights(layer, "scaled-init")
        with torch.no_grad(), apart("scaled-init"):
            start_orthogonal(layer.weight)
            if layer.bias is not None:
                layer.bias.zero_()
        at_first_forward(layer, "scaled-init", _scale)
    return module


@torch.no_grad()
def _scale(layer: Any, input: Any) -> None:
    outputs = layer.forward(input)
    units = outputs.flatten(0, -2) if isinstance(layer, nn.Linear) else outputs.transpose(0, 1).flatten(1).T
    mean = units.mean(0) if layer.bias is not None else units.new_zeros(units.shape[1])
    scale = (units - mean).square().mean().sqrt()
    if not (scale.isfinite() and scale > 0):
        return  # one row, or a state that is zero yet
    layer.weight.div_(scale)
    if layer.bias is not None:
        layer.bias.sub_(mean).div_(scale)


REMEDY = Remedy(
    "scaled-init",
    scaled_init,
    "module",
    preserves=False,
    answers=("vanishing-in-depth", "exploding-in-depth", "saturated-units", "dead-units", "collapsed-weights"),
    cost="one more forward pass, once",
    source="Krähenbühl, Doersch, Donahue & Darrell 2016, arXiv 1511.06856; Mishkin & Matas 2016, arXiv 1511.06422",
)
