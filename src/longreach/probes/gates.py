"""The slopes inside fused recurrent layers, computed again from their inputs, weights and states."""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from longreach.probes.fused import FusedCall, kind_of
from longreach.probes.replay import Strand, strands, turn_around

# Slopes of units, and the gates that they depend on.
Units = tuple[Tensor, tuple[Tensor, ...]]
# A gate that never opens further than this passes nothing on.
SHUT = 1e-3


def slopes(
    call: FusedCall, generator: torch.Generator
) -> Iterator[tuple[str, Float[Tensor, "input unit"], Bool[Tensor, " unit"]]]:
    """Of every layer and direction: its kind, its units' slopes at every row and time step, and which are shut off.

    The slope of a unit is the mean of those of its squashing functions, each as a share of its largest slope:
        RNN tanh  1 - h²
        RNN relu  1 where h > 0
        LSTM      input gate, output gate, candidate
        GRU       reset gate, candidate
    A forget gate near 1 is memory and no fault: it is left out, and so is the update gate of the GRU. A unit is shut
    off if a gate that it depends on stays below 0.001: input or output gate, or one minus the update gate; a unit with
    the slope of a relu if that is always 0.

    Cost: one forward pass of the call's rows in float64.
    """
    with torch.no_grad(), torch.autocast(call.inputs.device.type, enabled=False):
        several = call.module.num_layers > 1
        for layer, reverse, strand, output, _ in strands(call.module, call.inputs, call.lengths, call.start, generator):
            if strand.mode not in UNITS:
                continue
            states = turn_around(output, call.lengths) if reverse else output
            steps = torch.arange(len(states), device=states.device)[:, None]
            valid = steps < call.lengths.to(states.device)[None]
            slope, openings = UNITS[strand.mode](strand, states.detach())
            shut = torch.zeros(slope.shape[-1], dtype=torch.bool, device=slope.device)
            for opening in openings:
                shut |= opening[valid].amax(dim=0) < SHUT
            kind = kind_of(strand.mode) + f", layer {layer}" * several + ", reverse" * reverse
            yield kind, slope[valid], shut


def _tanh(strand: Strand, states: Tensor) -> Units:
    return 1 - states**2, ()


def _relu(strand: Strand, states: Tensor) -> Units:
    # flat on one side only: it may die, and does not saturate
    return torch.ones_like(states), ((states > 0).to(states),)


def _lstm(strand: Strand, states: Tensor) -> Units:
    from_input, from_state = _products(strand, states)
    write, _, candidate, read = (from_input + from_state).chunk(4, dim=-1)
    write, read = write.sigmoid(), read.sigmoid()
    return (_of_sigmoid(write) + _of_sigmoid(read) + 1 - candidate.tanh() ** 2) / 3, (write, read)


def _gru(strand: Strand, states: Tensor) -> Units:
    from_input, from_state = _products(strand, states)
    (reset, keep, candidate), (r, z, n) = from_input.chunk(3, dim=-1), from_state.chunk(3, dim=-1)
    reset = (reset + r).sigmoid()
    candidate = (candidate + reset * n).tanh()
    return (_of_sigmoid(reset) + 1 - candidate**2) / 2, ((-keep - z).sigmoid(),)


UNITS = {"RNN_TANH": _tanh, "RNN_RELU": _relu, "LSTM": _lstm, "GRU": _gru}


def _products(strand: Strand, states: Tensor) -> tuple[Tensor, Tensor]:
    """W_ih x_t + b_ih and W_hh h_{t-1} + b_hh at every step."""
    w_ih, w_hh, *others = strand.weights
    b_ih, b_hh = others[:2] if strand.bias else (None, None)
    before = torch.cat([strand.start[0][None], states[:-1]])
    linear = torch.nn.functional.linear
    return linear(strand.inputs, w_ih, b_ih), linear(before, w_hh, b_hh)


def _of_sigmoid(gate: Tensor) -> Tensor:
    """Its slope, as a share of the largest."""
    return 4 * gate * (1 - gate)
