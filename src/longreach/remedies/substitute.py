"""A recurrent layer of another kind in the place of one of torch's, by the same contract.

What a script builds it also calls: with a state of the shape it knows, and it takes apart what comes back. So a layer
that is swapped keeps its class's manners: an nn.RNN that has become an LSTM inside still takes and gives one tensor h.
What the new layer carries besides is found again by the h that the script hands back.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from longreach.errors import NotApplicable
from longreach.nn.cell import Cell, entries, rebuilt
from longreach.nn.layers import GRU, LSTM, RNN
from longreach.nn.recurrent import Recurrent
from longreach.remedies.anatomy import Layer
from longreach.remedies.remedy import remember

Inner = Recurrent | RNN | GRU | LSTM


def like(layer: Layer, cell: type[Cell], **options: Any) -> Recurrent | Cell:
    """What could stand in the place of `layer`, made of this cell: its sizes, layers, directions, device and dtype."""
    weight = next(layer.parameters())
    place: dict[str, Any] = {"device": weight.device, "dtype": weight.dtype}
    if not isinstance(layer, nn.RNNBase):
        return cell(layer.input_size, layer.hidden_size, **place, **options)
    shape: dict[str, Any] = {"batch_first": layer.batch_first, "dropout": layer.dropout}
    shape["bidirectional"] = layer.bidirectional
    return Recurrent(cell, layer.input_size, layer.hidden_size, layer.num_layers, **shape, **place, **options)


def put_in_place(layer: Layer, inner: Inner | Cell, name: str) -> None:
    """From now on `layer` computes what `inner` does, and keeps its own manners; `undo` brings it back as it was.

    The parameters of the layer are those of `inner`: an optimizer has to be made after.
    """
    if getattr(layer, "proj_size", 0):
        raise NotApplicable(f"{name}: expected an LSTM without a projection, got proj_size={layer.proj_size}")
    kept = type(layer), dict(vars(layer))
    parts = {key: dict(value) for key, value in kept[1].items() if key in ("_parameters", "_buffers", "_modules")}
    remember(layer, name, _bring_back, (kept[0], {**kept[1], **parts}))
    entries = 2 if isinstance(layer, (nn.LSTM, LSTM, nn.LSTMCell)) else 1
    layer._parameters, layer._buffers, layer._modules = {}, {}, {}
    for gone in ("_flat_weights", "_flat_weight_refs", "_flat_weights_names"):
        vars(layer).pop(gone, None)
    layer.__class__ = Substitute if isinstance(layer, nn.RNNBase) else StepSubstitute
    stand_in = cast(Any, layer)
    stand_in.entries, stand_in.called, stand_in.inner, stand_in._ended = (
        entries,
        name,
        inner.train(layer.training),
        None,
    )


def _bring_back(layer: nn.Module, kept: tuple[type, dict[str, Any]]) -> None:
    hooks = {key: value for key, value in vars(layer).items() if key.endswith("_hooks")}  # of both lives
    training = layer.training
    layer.__class__ = kept[0]
    vars(layer).clear()
    vars(layer).update(kept[1] | hooks)
    layer.train(training)


class _Manners(nn.Module):
    """What both kinds of stand-in know about the state that a script hands back."""

    entries: int
    called: str
    inner: Any

    def _known(self, given: Any) -> Any:
        """The inner state that belongs to what the script gives; None for a start."""
        first = given if isinstance(given, Tensor) or given is None else given[0]
        if first is None:
            return None
        state = getattr(first, "longreach_state", None)
        if state is not None:
            return state
        if not bool(first.any()):
            return None
        shown, state = self._ended or (None, None)
        if shown is not None and shown.shape == first.shape and torch.equal(shown, first.detach()):
            return state
        raise NotApplicable(
            f"{self.called}: expected the state that the layer itself gave, or zeros, got another one: what the new "
            "layer carries besides cannot follow a state that the script changes or chooses"
        )

    def _shown(self, h: Tensor, state: Any) -> Any:
        """What the script gets for a state: tensors of the shape that its own layer has, which lead back to it."""
        h.longreach_state = state  # type: ignore[attr-defined]
        tensors = entries(state)
        self._ended = h.detach(), rebuilt(state, tuple(entry.detach() for entry in tensors))
        if self.entries == 1:
            return h
        second = tensors[1] if len(tensors) > 1 and tensors[1].shape == h.shape else h
        return h, second

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_ended": None}

    def extra_repr(self) -> str:
        """The remedy."""
        return self.called


class Substitute(_Manners):
    """Stands in the place of an nn.RNN, GRU or LSTM and is called as that is."""

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> tuple[Tensor | PackedSequence, Any]:
        """Outputs of all steps, and the state after the last, in the shapes of the layer that stood here."""
        output, state = self.inner(input, self._known(hx))
        return output, self._shown(self._last(state), state)

    def _last(self, state: Any) -> Tensor:
        """What every layer and direction shows of its last state, [places, B, H]."""
        if not isinstance(self.inner, Recurrent):
            return next(iter(entries(state))).clone()
        tensors, unbatched = entries(state), False
        shown = []
        for place, cell in enumerate(self.inner.cells):
            of_place = rebuilt(state, tuple(entry[place] for entry in tensors))
            unbatched = next(iter(entries(of_place))).dim() == 1
            if unbatched:
                of_place = rebuilt(of_place, tuple(entry[None] for entry in entries(of_place)))
            h = cast(Cell, cell).output(of_place)
            shown.append(h[0] if unbatched else h)
        return torch.stack(shown)

    def flatten_parameters(self) -> None:
        """Nothing: what torch's layers need for cuDNN."""


class StepSubstitute(_Manners):
    """Stands in the place of an nn.RNNCell, GRUCell or LSTMCell and is called as that is."""

    inner: Cell

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """The state after one step, in the shapes of the cell that stood here."""
        rows = input if input.dim() == 2 else input[None]
        state = self._known(hx)
        if state is None:
            state = self.inner.start(len(rows), like=rows)
        state = self.inner(self.inner.project(rows), state)
        h = self.inner.output(state)
        return self._shown(h if input.dim() == 2 else h[0], state)
