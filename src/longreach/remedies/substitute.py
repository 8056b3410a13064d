"""A recurrent layer of another kind in the place of one of torch's or ours, by the same contract.

What a script builds it also calls: with a state of the shape it knows, and it takes apart what comes back. So a layer
that is swapped keeps its class's manners: an nn.RNN that has become an LSTM inside still takes and gives one tensor h.
What the new layer carries besides is found again by the h that the script hands back.
"""

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from longreach.errors import NotApplicable
from longreach.nn.cell import Cell, entries, rebuilt
from longreach.nn.gates import GateCell
from longreach.nn.layers import GRU, LSTM, RNN
from longreach.nn.recurrent import Recurrent
from longreach.remedies.anatomy import Layer, kind_of
from longreach.remedies.apart import apart
from longreach.remedies.remedy import remember_structure

Inner = Recurrent | RNN | GRU | LSTM
Place = Layer | Recurrent

# Options of longreach.nn that a layer of torch does not have; what is put in its place has them too.
OPTIONS = ("cut", "clip", "checkpoint_every", "residual")


def places(module: nn.Module, verb: str, *kinds: str) -> list[Place]:
    """What a swap can take the place of: torch's recurrent layers and cells, ours, and a Recurrent of cells with gates.

    kinds   "rnn", "gru", "lstm"; all of them if none
    Gives   nothing where the verb has been applied before
    Raises  NotApplicable where there is none
    """
    parts = list(module.modules())
    done = [part for part in parts if isinstance(part, _Manners) and part.called == verb]
    within = {below for part in done for below in part.modules()}
    found: list[Place] = [part for part in parts if isinstance(part, nn.RNNBase | nn.RNNCellBase)]
    networks = [part for part in parts if isinstance(part, Recurrent)]
    found += [part for part in networks if all(isinstance(cell, GateCell) for cell in part.cells)]
    found = [part for part in found if part not in within and (not kinds or kind_of_place(part) in kinds)]
    if not found and not done:
        wanted = " or ".join(kind.upper() for kind in kinds or ("rnn", "gru", "lstm"))
        raise NotApplicable(
            f"{verb}: expected an {wanted} of torch or longreach, its cell, or a model that holds one, got "
            f"{type(module).__name__}, which has none; a network that multiplies its state with a weight of its own is "
            "not seen, nor a cell of longreach that the script calls step by step"
        )
    return found


def kind_of_place(place: Place) -> str:
    """ "rnn", "gru" or "lstm": what gates it has."""
    return kind_of(first_of(place))


def first_of(place: Place) -> Layer:
    """What knows how a place computes: of a Recurrent its first cell."""
    return cast(GateCell, place.cells[0]) if isinstance(place, Recurrent) else place


def like(layer: Place, cell: type[Cell], **options: Any) -> Recurrent | Cell:
    """What could stand in the place of `layer`, made of this cell: its sizes, layers, directions, device and dtype."""
    weight = next(layer.parameters())
    place: dict[str, Any] = {"device": weight.device, "dtype": weight.dtype}
    if not isinstance(layer, nn.RNNBase | Recurrent):
        return cell(layer.input_size, layer.hidden_size, **place, **options)
    options = {**shape_of(layer), **place, **options}
    return Recurrent(cell, layer.input_size, layer.hidden_size, layer.num_layers, **options)


def put_layers(
    module: nn.Module, verb: str, whole: type[GRU | LSTM], step: type[GateCell], *kinds: str
) -> Iterator[Any]:
    """Put layers of a kind, drawn anew, in all places of these kinds; gives them, whole layers or cells.

    Raises  NotApplicable where there is no such place
    """
    for layer in places(module, verb, *kinds):
        weight = next(layer.parameters())
        with apart(verb):
            if isinstance(layer, nn.RNNBase | Recurrent) and not getattr(layer, "residual", False):
                shape = {name: value for name, value in shape_of(layer).items() if name != "residual"}
                size = (layer.input_size, layer.hidden_size, layer.num_layers)
                inner: Any = whole(*size, **shape, device=weight.device, dtype=weight.dtype)
            else:
                inner = like(layer, step)
        put_in_place(layer, inner, verb)
        yield from inner.cells if isinstance(inner, Recurrent) else (inner,)


def shape_of(layer: nn.RNNBase | Recurrent) -> dict[str, Any]:
    """How a layer takes its input and runs through it, as keywords."""
    shape: dict[str, Any] = {"batch_first": layer.batch_first, "dropout": layer.dropout}
    own = {name: getattr(layer, name) for name in OPTIONS if hasattr(layer, name)}
    return {**shape, "bidirectional": layer.bidirectional, **own}


def put_in_place(layer: Place, inner: Inner | Cell, name: str) -> None:
    """From now on `layer` computes what `inner` does, and keeps its own manners; `undo` brings it back as it was.

    The parameters of the layer are those of `inner`: an optimizer has to be made after. What was frozen stays frozen.
    """
    if getattr(layer, "proj_size", 0):
        raise NotApplicable(f"{name}: expected an LSTM without a projection, got proj_size={layer.proj_size}")
    stand_in, holds_steps = cast(Any, layer), isinstance(layer, nn.RNNBase | Recurrent)
    is_learned = any(own.requires_grad for own in layer.parameters())
    remember_structure(layer, name)
    stand_in.entries, stand_in.called = 2 if kind_of_place(layer) == "lstm" else 1, name
    stand_in._parameters, stand_in._buffers, stand_in._modules = {}, {}, {}
    for gone in ("_flat_weights", "_flat_weight_refs", "_flat_weights_names"):
        vars(layer).pop(gone, None)
    stand_in.__class__ = Substitute if holds_steps else StepSubstitute
    if not is_learned:
        inner.requires_grad_(False)
    stand_in.inner, stand_in._ended = inner.train(layer.training), {}


class _Manners(nn.Module):
    """What both kinds of stand-in know about the state that a script hands back.

    entries  of the state that the script knows: h, or h and c
    _ended   what was shown last, and the state behind it, apart for training and evaluation: a validation between two
             windows of a stream does not break it off
    """

    entries: int
    called: str
    inner: Any
    _ended: dict[bool, tuple[Tensor, Any]]

    def _is_seen_through(self) -> bool:
        """Whether the script's state holds all that the inner one does."""
        if isinstance(self.inner, RNN | GRU | LSTM | _Manners):
            return _count(self.inner) <= self.entries
        cell = cast(Cell, self.inner.cells[0] if isinstance(self.inner, Recurrent) else self.inner)
        zero = cell.start(0, like=next(cell.parameters()))
        tensors = entries(zero)
        plain = all(part.shape == (0, cell.hidden_size) and not part.is_complex() for part in tensors)
        return plain and len(tensors) <= self.entries and cell.output(zero) is tensors[0]

    def _known(self, given: Any) -> Any:
        """The inner state that belongs to what the script gives; None for a start."""
        first = given if isinstance(given, Tensor) or given is None else given[0]
        if first is None:
            return None
        state = getattr(first, "longreach_state", None)
        if state is not None:
            return state
        is_learned = isinstance(first, nn.Parameter) or first.grad_fn is not None
        if not is_learned and not bool(first.any()):
            return None
        for shown, state in self._ended.values():
            if shown.shape == first.shape and torch.equal(shown, first.detach()):
                return state
        raise NotApplicable(
            f"{self.called}: expected the state that the layer itself gave, or zeros, got another one: what the new "
            "layer carries besides cannot follow a state that the script changes, chooses or learns"
        )

    def _shown(self, h: Tensor, state: Any) -> Any:
        """What the script gets for a state: tensors of the shape that its own layer has, which lead back to it."""
        tensors = entries(state)
        if not self._is_seen_through():
            h.longreach_state = state  # type: ignore[attr-defined]
            self._ended[self.training] = h.detach(), rebuilt(state, tuple(entry.detach() for entry in tensors))
        if self.entries == 1:
            return h
        second = tensors[1] if len(tensors) > 1 and tensors[1].shape == h.shape and not tensors[1].is_complex() else h
        return h, second

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_ended": {}}

    def extra_repr(self) -> str:
        """The remedy."""
        return self.called


class Substitute(_Manners):
    """Stands in the place of an nn.RNN, GRU or LSTM, or of a Recurrent, and is called as that is."""

    def forward(
        self, input: Tensor | PackedSequence, hx: Any = None, *, state: Any = None, resets: Any = None
    ) -> tuple[Tensor | PackedSequence, Any]:
        """Outputs of all steps, and the state after the last, in the shapes of the layer that stood here."""
        given = hx if state is None else state
        output, state = self.inner(input, self._within(given), **({} if resets is None else {"resets": resets}))
        return output, self._shown(self._last(state), state)

    def _within(self, given: Any) -> Any:
        if given is None or not self._is_seen_through():
            return self._known(given)
        parts = entries(given)
        if not isinstance(self.inner, Recurrent):
            return parts[0] if _count(self.inner) == 1 else parts
        like = cast(Cell, self.inner.cells[0]).start(0, like=parts[0])
        return rebuilt(like, parts[: len(entries(like))])

    def _last(self, state: Any) -> Tensor:
        """What every layer and direction shows of its last state, [places, B, H]."""
        first = next(iter(entries(state)))
        if self._is_seen_through():
            return first
        if not isinstance(self.inner, Recurrent):
            return first.clone()  # another one than in the state, to which it leads
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
        batched = input.dim() == 2
        rows = input if batched else input[None]
        state = self._within(hx, batched)
        if state is None:
            state = self.inner.start(len(rows), like=rows)
        state = self.inner(self.inner.project(rows), state)
        h, transparent = self.inner.output(state), self._is_seen_through()
        if not batched:
            h = h[0]
        elif not transparent:
            h = h.clone()  # another one than in the state, to which it leads
        return self._shown(h, state if batched or not transparent else _first_row(state))

    def _within(self, given: Any, batched: bool) -> Any:
        if given is None or not self._is_seen_through():
            return self._known(given)
        parts = entries(given) if batched else tuple(part[None] for part in entries(given))
        like = self.inner.start(0, like=parts[0])
        return rebuilt(like, parts[: len(entries(like))])


def _count(layer: Any) -> int:
    """Entries of the state of a layer in torch's manner."""
    return layer.entries if isinstance(layer, _Manners) else len(layer.entries)


def _first_row(state: Any) -> Any:
    return rebuilt(state, tuple(entry[0] for entry in entries(state)))
