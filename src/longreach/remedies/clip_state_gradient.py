"""Clipping of what one step sends back to the one before it (in the spirit of Graves 2013, arXiv 1308.0850, 2.1)."""

from typing import Any, TypeVar

from torch import Tensor, nn

from longreach.errors import ArgumentError, NotApplicable
from longreach.kernels import border
from longreach.nn import Recurrent
from longreach.nn.accelerating import OURS
from longreach.nn.cell import Cell, entries, rebuilt
from longreach.nn.layers import GRU, LSTM, RNN
from longreach.remedies.anatomy import become_ours
from longreach.remedies.remedy import Remedy, applied, remember_hooks, wholly

M = TypeVar("M", bound=nn.Module)


@wholly
def clip_state_gradient(module: M, *, max_norm: float = 1.0) -> M:
    """Limit ‖∂L/∂hₜ‖, for each sequence, as step t + 1 sends it back to step t: (h, c) together where there is a c.

    Promises   what passes between two steps is never longer than `max_norm`, its direction kept; so ∂L/∂W is a sum over
               steps of which none has exploded
    Changes    no value, but for the rounding of longreach.nn's kernels, which torch's RNN, GRU and LSTM are run by
    Twice      is the same as once; with another max_norm, the smaller one holds
    Undo       the layer's own class and options, or the hook leaves; the weights stay as they are
    Price      a norm at each step of each layer; none to speak of
    Is not     clipping of the whole gradient: the result is no longer the gradient of a loss, also in its direction
    Raises     ArgumentError unless max_norm > 0; NotApplicable where there is no recurrent layer, or only subclasses of
               torch's, which may do anything
    """
    if not max_norm > 0:
        raise ArgumentError(f"max_norm: expected a norm above 0, got {max_norm}")
    found = list(_layers(module))
    if not found:
        raise NotApplicable(
            f"clip-state-gradient: expected a torch RNN, GRU or LSTM, a cell, or a model that holds one, got "
            f"{type(module).__name__}, which has none; a loop of its own can use longreach.kernels.border.clip"
        )
    for layer in found:
        if isinstance(layer, (nn.RNNCellBase, Cell)):
            _clip_step(layer, max_norm)
        else:
            _clip_layer(layer, max_norm)
    return module


def _layers(module: nn.Module) -> list[Any]:
    """The outermost parts that carry a state: what a Recurrent holds is its own."""
    if type(module) in OURS or isinstance(module, (RNN, GRU, LSTM, Recurrent, nn.RNNCellBase, Cell)):
        return [module]
    return [layer for part in module.children() for layer in _layers(part)]


def _clip_layer(layer: Any, max_norm: float) -> None:
    if "clip-state-gradient" not in applied(layer):
        become_ours(layer, "clip-state-gradient")
    layer.clip = min(layer.clip, float(max_norm))


class _ClipState:
    """A hook that stands between a cell and the state it is given."""

    def __init__(self, max_norm: float):
        self.max_norm = max_norm

    def __call__(self, _: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        name = "hx" if "hx" in named else "state"
        state = given[1] if len(given) > 1 else named.get(name)
        if state is None:
            return None
        rows = tuple(entry[None] if entry.dim() == 1 else entry for entry in entries(state))
        clipped = border.clip(rows, self.max_norm)
        back: list[Tensor] = [entry.reshape(own.shape) for entry, own in zip(clipped, entries(state), strict=True)]
        state = rebuilt(state, tuple(back))
        return ((given[0], state, *given[2:]), named) if len(given) > 1 else (given, {**named, name: state})


def _clip_step(cell: nn.Module, max_norm: float) -> None:
    for hook in cell._forward_pre_hooks.values():
        if isinstance(hook, _ClipState):
            hook.max_norm = min(hook.max_norm, max_norm)
            return
    hook = cell.register_forward_pre_hook(_ClipState(float(max_norm)), with_kwargs=True)
    remember_hooks(cell, "clip-state-gradient", hook)


REMEDY = Remedy(
    "clip-state-gradient",
    clip_state_gradient,
    "module",
    preserves=True,
    answers=("exploding-in-time",),
    cost="a norm at each step of each layer",
    source="in the spirit of Graves 2013, arXiv 1308.0850, 2.1",
)
