"""A recurrence in a wider type than its surroundings (as Micikevicius et al. 2018, arXiv 1710.03740, do with sums)."""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.nn.utils.stateless import _reparametrize_module

from longreach.errors import NotApplicable
from longreach.nn import Recurrent
from longreach.remedies.instead import Instead, below
from longreach.remedies.remedy import Remedy, wholly

M = TypeVar("M", bound=nn.Module)


@wholly
def wider(module: M) -> M:
    """Compute recurrent layers over sequences in float32 where they are given half a float, in float64 where a float.

    Promises   the states of all steps of a call, and their gradients, are summed up in the wider type: what is added to
               a state is lost below 6e-8 of it instead of 4e-3 in bfloat16, or below 1e-16 instead of 6e-8 in float32
    Keeps      the weights, which stay in their type, and the types of inputs, outputs and states as a script sees them
    Changes    no value but by rounding
    Twice      is the same as once
    Undo       the layer's own forward
    Price      a copy of the weights in the wider type at each call, and the wider arithmetic: about twice on a CPU; for
               float64 up to 64 times on a GPU
    Is not     for cells: between two calls a state is rounded to the type of the script
    Raises     NotApplicable where there is no recurrent layer over sequences, or all are of float64 already
    """
    layers = [part for part in module.modules() if isinstance(part, (nn.RNNBase, Recurrent))]
    fitting = [layer for layer in layers if next(layer.parameters()).dtype != torch.float64]
    if not fitting:
        raise NotApplicable(
            f"wider: expected a recurrent layer over sequences of a type below float64, got {type(module).__name__} "
            f"with {'all of them in float64' if layers else 'none'}; the loop over a cell can be written in float64"
        )
    for layer in fitting:
        if below(layer, Wider) is None:
            Wider(layer).put_in("wider")
    return module


class Wider(Instead):
    """A forward in a wider type."""

    def __call__(self, input: Tensor | PackedSequence, state: Any = None, **options: Any) -> tuple[Any, Any]:
        """Outputs of all steps, and the state after the last."""
        layer, device = self._layer, next(self._layer.parameters()).device.type
        narrow = input.data.dtype
        if torch.is_autocast_enabled(device):
            narrow = torch.get_autocast_dtype(device)
        wide = torch.float64 if narrow in (torch.float32, torch.float64) else torch.float32
        state = options.pop("hx", state)
        weights = {name: own.to(wide) for name, own in layer.named_parameters()}
        with torch.autocast(device, enabled=False), _reparametrize_module(layer, weights):
            _list_weights(layer)
            result = self.plain(_as(wide, input), _as(wide, state), **options)
        _list_weights(layer)
        return _as(narrow, result)


def _list_weights(layer: nn.Module) -> None:
    """Torch's layers keep a list of their weights besides."""
    if isinstance(layer, nn.RNNBase):
        layer._init_flat_weights()


def _as(dtype: torch.dtype, given: Any) -> Any:
    """All numbers of a state, or an output, in this type."""
    if isinstance(given, PackedSequence) or (isinstance(given, Tensor) and given.is_floating_point()):
        return given.to(dtype)
    if isinstance(given, tuple):
        parts = [_as(dtype, part) for part in given]
        return type(given)(*parts) if hasattr(given, "_fields") else tuple(parts)
    return given


REMEDY = Remedy(
    "wider",
    wider,
    "module",
    preserves=True,
    answers=("precision-loss",),
    cost="the recurrence in the wider type: about twice on a CPU, in float64 far more on a GPU",
    source="Micikevicius et al. 2018, arXiv 1710.03740",
)
