"""Layer normalisation (Ba, Kiros & Hinton 2016, arXiv 1607.06450)."""

from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from longreach.errors import NotApplicable
from longreach.nn import cells
from longreach.remedies.blocks import Plain, blocks
from longreach.remedies.kept import Weights, put_around
from longreach.remedies.remedy import Remedy, applied, remember

M = TypeVar("M", bound=nn.Module)


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
    treated = put_around(module, cells.LayerNorm, "layer-norm", _settle)
    for layer in [block.layer for block in blocks(module) if not block.normed]:
        normalise(layer, "layer_norm", _norm_for(layer), "layer-norm")
        treated += 1
    if not treated and "layer-norm" not in applied(module):
        raise nothing_to_normalise("layer-norm")
    return module


def _norm_for(layer: Plain) -> nn.Module:
    place: Any = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    if isinstance(layer, nn.Linear):
        return nn.LayerNorm(layer.out_features, **place)
    return nn.GroupNorm(1, layer.out_channels, **place)  # of one group: all channels and places of a picture


def normalise(layer: nn.Module, attribute: str, norm: nn.Module, name: str) -> None:
    """From now on what a layer gives goes through `norm`, which is a part of it."""
    layer.add_module(attribute, norm.train(layer.training))
    hook = layer.register_forward_hook(partial(_normed, attribute))
    remember(layer, name, _release, (attribute, hook))


def _normed(attribute: str, layer: nn.Module, _: Any, output: Tensor) -> Tensor:
    return getattr(layer, attribute)(output)


def _release(layer: nn.Module, kept: tuple[str, Any]) -> None:
    delattr(layer, kept[0])
    kept[1].remove()


def nothing_to_normalise(name: str) -> NotApplicable:
    """For a model without recurrent layers and without blocks that lack a norm."""
    return NotApplicable(
        f"{name}: expected a recurrent layer, or a linear map with an activation module and no norm behind it, got "
        "none; make F.relu an nn.ReLU"
    )


@torch.no_grad()
def _settle(cell: cells.LayerNorm, given: Weights) -> None:
    """The biases that a layer had, as those of the norms; in a GRU without b_hn, which stands behind r."""
    hidden, gates = cell.hidden_size, cell.inner.gates
    for number, bias in enumerate(given[2:4]):
        if bias is not None:
            seen = slice(0, 2 * hidden if number and gates == 3 else gates * hidden)
            cell.norm_x.bias[seen] += bias[seen]


REMEDY = Remedy(
    "layer-norm",
    layer_norm,
    "module",
    preserves=False,
    answers=("vanishing-in-depth", "exploding-in-depth", "exploding-in-time", "saturated-units", "badly-scaled-input"),
    cost="a pass over the sums; a recurrent layer runs as a loop, many times as slow",
    source="Ba, Kiros & Hinton 2016, arXiv 1607.06450",
)
