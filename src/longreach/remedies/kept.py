"""Cells of ours in the place of a script's recurrent layer, with the weights that it has."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from longreach.errors import NotApplicable
from longreach.nn import Recurrent, cells
from longreach.nn.cell import Cell, Wrapper
from longreach.nn.gates import GateCell
from longreach.remedies.anatomy import Layer, activation_of, kind_of
from longreach.remedies.apart import apart
from longreach.remedies.remedy import applied, remember_structure
from longreach.remedies.substitute import Place, first_of, like, put_in_place

# weight_ih, weight_hh, bias_ih, bias_hh and the slope of a prelu, of one layer and direction
Weights = tuple[Tensor | None, ...]
Settle = Callable[[Any, Weights], None]


def torch_layers(module: nn.Module) -> list[nn.RNNBase | nn.RNNCellBase]:
    """Recurrent layers and cells in torch's manner; without LSTMs that project, which no cell of ours does."""
    found = [part for part in module.modules() if isinstance(part, nn.RNNBase | nn.RNNCellBase)]
    return [layer for layer in found if not getattr(layer, "proj_size", 0)]


def cell_like(layer: Layer) -> Callable[..., GateCell]:
    """The cell that computes what a layer does at one step."""
    kind = kind_of(layer)
    if kind == "rnn":
        return partial(cells.Elman, activation=activation_of(layer), bias=bool(layer.bias))
    return partial(cells.GRU if kind == "gru" else cells.LSTM, bias=bool(layer.bias))


def weights_of(layer: Place) -> list[Weights]:
    """The weights of every layer and direction."""
    if isinstance(layer, Recurrent):
        return [weights for cell in layer.cells for weights in weights_of(cast(GateCell, cell))]
    ends = [""]
    if isinstance(layer, nn.RNNBase):
        ends = [names[0].removeprefix("weight_ih") for names in cast(list[list[str]], layer._all_weights)]
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "slope")
    return [tuple(getattr(layer, kind + end, None) for kind in kinds) for end in ends]


@torch.no_grad()
def take(cell: GateCell, given: Weights) -> None:
    """Give a cell these weights, frozen where they are; biases only where it has any."""
    for own, value in zip((*cell.weights(), getattr(cell, "slope", None)), given, strict=True):
        if own is not None and value is not None:
            own.copy_(value).requires_grad_(value.requires_grad)


def with_weights(layer: Place, cell: Callable[..., GateCell], **options: Any) -> Recurrent | GateCell:
    """What has the sizes of a layer and its weights, made of this cell, whose gates are as many."""
    with apart("weights that are overwritten"):
        found = like(layer, cast(type[Cell], cell), bias=bool(first_of(layer).bias), **options)
    for own, given in zip(cells_of(found), weights_of(layer), strict=True):
        take(own, given)
    return cast(Recurrent | GateCell, found)


def cells_of(found: Recurrent | Cell) -> list[Any]:
    """Of every layer and direction the cell, or the cell itself."""
    return list(found.cells) if isinstance(found, Recurrent) else [found]


def leave_alone(_cell: object, _weights: object) -> None:
    """Nothing to settle: the wrapper has no weights of its own."""


def put_around(
    module: nn.Module,
    wrapper: type[Wrapper],
    name: str,
    settle: Settle = leave_alone,
    *,
    fits: Callable[[Layer], bool] = lambda _: True,
    **options: Any,
) -> int:
    """Put a wrapper around the step of every recurrent layer within a module that fits; gives how many there were.

    Layers in torch's manner, and cells with gates that a Recurrent holds. `settle(cell, weights)` is to give what the
    wrapper has besides the two matrices.
    """
    done = {id(part) for whole in module.modules() if isinstance(whole, wrapper) for part in whole.modules()}
    layers = [layer for layer in torch_layers(module) if id(layer) not in done and fits(layer)]
    holders = [
        part
        for part in module.modules()
        if isinstance(part, Recurrent) and any(isinstance(cell, GateCell) and fits(cell) for cell in part.cells)
    ]
    for layer in layers:
        with apart("weights that are overwritten"):
            found = like(layer, wrapper, inner=cell_like(layer), **options)
        for cell, given in zip(cells_of(found), weights_of(layer), strict=True):
            take(cell.inner, given)
            settle(cell, given)
        put_in_place(layer, found, name)
    for holder in holders:
        remember_structure(holder.cells, name)
        for place, cell in enumerate(holder.cells):
            if isinstance(cell, GateCell) and fits(cell):
                holder.cells[place] = _around(cell, wrapper, settle, options)
    return len(layers) + len(holders)


def wrap_all(
    module: nn.Module, wrapper: type[Wrapper], verb: str, settle: Settle = leave_alone, **options: Any
) -> None:
    """Put a wrapper around the step of every recurrent layer within a module.

    Raises  NotApplicable where there is none
    """
    if not put_around(module, wrapper, verb, settle, **options) and verb not in applied(module):
        raise NotApplicable(
            f"{verb}: expected an RNN, GRU or LSTM, its cell, or a model that holds one, got {type(module).__name__}, "
            "which has none without a projection; a network that multiplies its state with a weight of its own is not "
            "seen, nor what another remedy, as skip or zoneout, has put in the place of a layer: one of these at a time"
        )


def _around(cell: GateCell, wrapper: type[Wrapper], settle: Settle, options: dict[str, Any]) -> Wrapper:
    place = {"device": cell.weight_ih.device, "dtype": cell.weight_ih.dtype}
    with apart("weights that are overwritten"):
        found = cast(Any, wrapper)(cell.input_size, cell.hidden_size, inner=cell_like(cell), **place, **options)
    (given,) = weights_of(cell)
    take(found.inner, given)
    settle(found, given)
    return found.train(cell.training)
