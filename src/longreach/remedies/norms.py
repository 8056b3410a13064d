"""A norm before every activation: what layer-norm and batch-norm have in common."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from longreach.errors import NotApplicable
from longreach.nn.cell import Wrapper
from longreach.remedies.blocks import Plain, blocks
from longreach.remedies.kept import Weights, put_around
from longreach.remedies.remedy import applied, remember


def put_norms(
    module: nn.Module,
    verb: str,
    wrapper: type[Wrapper],
    norm_for: Callable[[Plain], nn.Module],
    bias_of: Callable[[Any], Tensor],
    **options: Any,
) -> None:
    """Norms in all recurrent layers, and behind linear maps and convolutions that have an activation and no norm yet.

    norm_for  of a linear map or convolution
    bias_of   of a wrapped cell: what takes in the biases that a layer had
    options   of the wrapper
    Raises    NotApplicable where there is nothing to normalise
    """
    treated = put_around(module, wrapper, verb, partial(_hand_on_biases, bias_of), **options)
    bare = [block.layer for block in blocks(module) if not block.normed]
    for layer in bare:
        _normalise(layer, verb, norm_for(layer))
    if not treated and not bare and verb not in applied(module):
        raise NotApplicable(
            f"{verb}: expected a recurrent layer, or a linear map with an activation module and no norm behind it, got "
            "none; make F.relu an nn.ReLU"
        )


@torch.no_grad()
def _hand_on_biases(bias_of: Callable[[Any], Tensor], cell: Any, given: Weights) -> None:
    """To the norms; in a GRU without b_hn, which stands behind r."""
    hidden, gates = cell.hidden_size, cell.inner.gates
    for number, bias in enumerate(given[2:4]):
        if bias is not None:
            seen = slice(0, 2 * hidden if number and gates == 3 else gates * hidden)
            bias_of(cell)[seen] += bias[seen]


def _normalise(layer: nn.Module, verb: str, norm: nn.Module) -> None:
    """From now on what a layer gives goes through `norm`, which is a part of it, named after the verb."""
    attribute = verb.replace("-", "_")
    norm.requires_grad_(any(own.requires_grad for own in layer.parameters()))
    layer.add_module(attribute, norm.train(layer.training))
    hook = layer.register_forward_hook(partial(_normed, attribute))
    remember(layer, verb, _release, (attribute, hook))


def _normed(attribute: str, layer: nn.Module, _: Any, output: Tensor) -> Tensor:
    return getattr(layer, attribute)(output)


def _release(layer: nn.Module, kept: tuple[str, Any]) -> None:
    delattr(layer, kept[0])
    kept[1].remove()
