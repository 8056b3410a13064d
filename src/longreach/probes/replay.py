"""One layer of a fused nn.RNN, nn.GRU or nn.LSTM, in one direction, replayed in chunks.

The fused call is only cut, never opened: the state handed from chunk to chunk is a leaf, so that one vector-Jacobian
product per chunk carries a gradient from border to border. It works on whatever device the layer lives on. For networks
of cells see cells.py.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

State = tuple[Tensor, ...]

# Longer stretches would let a product underflow even in float64 before it is renormalised:
# 16 steps of a gain of 1e-18 each are just representable.
LONGEST_CHUNK = 16

SCANS: dict[str, Callable] = {
    "LSTM": torch.lstm,
    "GRU": torch.gru,
    "RNN_TANH": torch.rnn_tanh,
    "RNN_RELU": torch.rnn_relu,
}


@runtime_checkable
class AnyStrand(Protocol):
    """What can be cut into chunks: a layer in one direction, with inputs, in its own running time."""

    @property
    def inputs(self) -> Float[Tensor, "time row feature"]:
        """What goes in at every step."""
        ...

    @property
    def start(self) -> State:
        """The state before the first step."""
        ...

    def run(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Outputs of every step and the state after the last one."""
        ...

    def rows(self, chosen: Tensor) -> "AnyStrand":
        """The same layer with these rows alone."""
        ...

    def passing(self, state: State) -> State:
        """The entries of a state that a gradient passes through."""
        ...

    def arriving(self, state: State, error: Tensor) -> State:
        """∂L/∂s for an error at what the layer shows of a state s."""
        ...


class Place(NamedTuple):
    """One layer in one direction, run over all steps.

    output  in the module's time, part of one graph from layer to layer; padded steps hold whatever
    ended   the state after the last step in its own running time, the entries that a gradient passes through
    """

    layer: int
    reverse: bool
    strand: Any
    output: Float[Tensor, "time row unit"]
    ended: State


@dataclass(frozen=True)
class Strand:
    """One recurrent layer in one direction, with the inputs of a few rows, all in its own running time.

    mode     as in nn.RNNBase: LSTM, GRU, RNN_TANH, RNN_RELU; of longreach.nn.RNN its other activations too
    weights  w_ih, w_hh (b_ih, b_hh) (w_hr), as torch orders them; then the slope of a PReLU
    start    the state before the first step: (h,) or (h, c), each of shape (row, unit)
    """

    mode: str
    weights: tuple[Tensor, ...]
    bias: bool
    inputs: Float[Tensor, "time row feature"]
    start: State

    def run(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Outputs of every step and the state after the last one."""
        stacked = tuple(part[None] for part in state)
        hx = stacked if self.mode == "LSTM" else stacked[0]
        scan = SCANS.get(self.mode, partial(_elman, self.mode))
        output, *after = scan(inputs, hx, list(self.weights), self.bias, 1, 0.0, False, False, False)
        return output, tuple(part[0] for part in after)

    def rows(self, chosen: Tensor) -> "Strand":
        """The same layer with these rows alone."""
        start = tuple(part[chosen] for part in self.start)
        return Strand(self.mode, self.weights, self.bias, self.inputs[:, chosen], start)

    def passing(self, state: State) -> State:
        """All of it."""
        return state

    def arriving(self, state: State, error: Tensor) -> State:
        """The error: h is what is shown."""
        return error, *(torch.zeros_like(part) for part in state[1:])


@dataclass(frozen=True)
class Chunk:
    """A stretch of time between two borders: the state that goes in, a leaf, and the state that comes out."""

    entering: State
    leaving: State

    def pull_back(self, cotangent: State) -> State:
        """Jᵀ v, with J = ∂leaving/∂entering."""
        pulled = torch.autograd.grad(self.leaving, self.entering, cotangent, retain_graph=True, allow_unused=True)
        return tuple(torch.zeros_like(e) if p is None else p for p, e in zip(pulled, self.entering, strict=True))


def chunks(strand: AnyStrand, anchor: int, borders: list[int]) -> tuple[list[Chunk], State]:
    """The strand cut at the given lags before the anchor step, the nearest chunk first; and the state s_anchor.

    borders  lags, ascending from 0 to at most `anchor`; state s_t is the one after step t
    """
    first = anchor - borders[-1]
    with torch.no_grad():
        _, state = strand.run(strand.inputs[: first + 1], strand.start)
    found = []
    with torch.enable_grad():
        for near, far in reversed(list(itertools.pairwise(borders))):
            entering = tuple(part.detach().requires_grad_() for part in state)
            _, state = strand.run(strand.inputs[anchor - far + 1 : anchor - near + 1], entering)
            found.append(Chunk(strand.passing(entering), strand.passing(state)))
    return found[::-1], state


def strands(
    module: nn.RNNBase,
    inputs: Float[Tensor, "time row feature"],
    lengths: Int[Tensor, " row"],
    start: State | None,
    generator: torch.Generator,
) -> Iterator[Place]:
    """Every layer and direction of a module, from the bottom up.

    Everything is float64 (float32 where the device has none). A reverse strand runs over inputs turned around within
    each row's own length. Dropout between layers is drawn anew, from `generator`.
    """
    dtype = torch.float32 if inputs.device.type == "mps" else torch.float64
    directions = 2 if module.bidirectional else 1
    state = _initial(module, inputs, start, dtype)
    flow = inputs.detach().to(dtype)
    for layer in range(module.num_layers):
        outputs = []
        for reverse in range(directions):
            place = layer * directions + reverse
            weights = tuple(weight.detach().to(dtype) for weight in _weights(module, place))
            own_time = turn_around(flow, lengths) if reverse else flow
            strand = Strand(module.mode, weights, module.bias, own_time.detach(), tuple(p[place] for p in state))
            with torch.enable_grad():
                output, ended = strand.run(own_time, strand.start)
                output = turn_around(output, lengths) if reverse else output
            # the bottom layer begins a graph from layer to layer, so that errors can be sent down the stack
            outputs.append(output if output.requires_grad else output.requires_grad_())
            yield Place(layer, bool(reverse), strand, output, ended)
        flow = dropped(torch.cat(outputs, dim=-1), module.dropout if module.training else 0.0, generator)


def dropped(flow: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """What goes from layer to layer, with dropout drawn anew."""
    if not share:
        return flow
    keep = torch.rand(flow.shape, generator=generator) >= share
    return flow * keep.to(flow) / (1 - share)


def _weights(module: nn.RNNBase, place: int) -> list[Tensor]:
    names = module._all_weights[place]
    slope = getattr(module, names[0].replace("weight_ih", "slope"), None)
    return [*(getattr(module, name) for name in names), *([] if slope is None else [slope])]


def _elman(mode: str, inputs: Tensor, hx: Tensor, weights: list[Tensor], bias: bool, *_: object) -> tuple[Tensor, ...]:
    """What torch.rnn_tanh does, for the activations that torch has no operator of."""
    from longreach.kernels import elman

    w_ih, w_hh, *others = weights
    b_ih, b_hh = others[:2] if bias else (None, None)
    activation = mode.removeprefix("RNN_").lower()
    slope = others[-1] if activation == "prelu" else None
    rows, ended = elman(inputs.flatten(0, 1), w_ih, w_hh, b_ih, b_hh, hx[0], activation=activation, slope=slope)
    return rows.view(*inputs.shape[:2], -1), ended[None]


def _initial(module: nn.RNNBase, inputs: Tensor, start: State | None, dtype: torch.dtype) -> State:
    if start is not None:
        return tuple(part.detach().to(dtype) for part in start)
    places = module.num_layers * (2 if module.bidirectional else 1)
    widths = [module.proj_size or module.hidden_size] + [module.hidden_size] * (module.mode == "LSTM")
    return tuple(torch.zeros(places, inputs.shape[1], width, dtype=dtype, device=inputs.device) for width in widths)


def turn_around(
    sequences: Float[Tensor, "time row feature"], lengths: Int[Tensor, " row"]
) -> Float[Tensor, "time row feature"]:
    """Each row backwards in time within its own length; its own inverse on the steps that count."""
    steps = torch.arange(sequences.shape[0], device=sequences.device)[:, None]
    source = (lengths.to(steps.device)[None] - 1 - steps).clamp(min=0)
    return sequences.gather(0, source[:, :, None].expand_as(sequences))
