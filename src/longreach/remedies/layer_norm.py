"""Layer normalisation (Ba, Kiros & Hinton 2016, arXiv 1607.06450)."""

from typing import Any, TypeVar

from torch import nn

from longreach.nn import cells
from longreach.remedies.blocks import Plain
from longreach.remedies.norms import put_norms
from longreach.remedies.remedy import Remedy, wholly

M = TypeVar("M", bound=nn.Module)


@wholly
def layer_norm(module: M) -> M:
    """Before every activation, give the sums of each row the mean 0 and the variance 1: g (a - mean) / deviation + b.

    In recurrent layers, at each step, as longreach.nn.cells.LayerNorm does it; behind each linear map and convolution
    that has an activation module behind it and no norm yet. A convolution's row is all of a picture.

    Promises   what comes out does not depend on the size of the weights, nor what a layer does to the size of a
               gradient: in a wide net a factor √(E f'² / E f²) over a standard normal, 1.09 for tanh, 1 for relu
    Changes    the function. Weights are kept; a recurrent layer's biases become those of its norms. New parameters are
               layer_norm.weight and .bias under the linear map's own name, so make the optimizer after it
    Twice      is the same as once
    Undo       the norms leave; a recurrent layer is back as it was before, with the weights from before
    Price      a pass over the sums; recurrent layers lose their fused form and run as a loop, many times as slow
    Is not     for deep nets of sigmoids, whose factor is 0.39 all the same: batch-norm or residual. For outputs
               neither: a linear map without an activation behind it is left alone. Rows of two or three units lose
               most of what they carry
    Raises     NotApplicable where there is nothing to normalise: activations called as functions are not seen
    """
    put_norms(module, "layer-norm", cells.LayerNorm, _norm_for, lambda cell: cell.norm_x.bias)
    return module


def _norm_for(layer: Plain) -> nn.Module:
    place: Any = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    if isinstance(layer, nn.Linear):
        return nn.LayerNorm(layer.out_features, **place)
    return nn.GroupNorm(1, layer.out_channels, **place)  # of one group: all channels and places of a picture


REMEDY = Remedy(
    "layer-norm",
    layer_norm,
    "module",
    preserves=False,
    answers=("vanishing-in-depth", "exploding-in-depth", "exploding-in-time", "saturated-units", "badly-scaled-input"),
    cost="a pass over the sums; a recurrent layer runs as a loop, many times as slow",
    source="Ba, Kiros & Hinton 2016, arXiv 1607.06450",
)
