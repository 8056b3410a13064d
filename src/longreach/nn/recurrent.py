"""Any cell as a recurrent network: the loop over time, and all that nn.LSTM does around its own."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from inspect import signature
from math import inf
from typing import Any, Unpack, cast

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence

from longreach.errors import ArgumentError
from longreach.kernels import border
from longreach.kernels.walk import Steps, walk
from longreach.nn import observing
from longreach.nn.cell import Cell, State, Step, each, entries, rebuilt
from longreach.nn.checkpointing import checkpointed
from longreach.nn.rows import Layout, Sequences, rows_of
from longreach.nn.stack import apply_stack


class Recurrent(nn.Module):
    """A cell through time: layers, directions, layouts, truncation, clipping, resets and recomputation for every cell.

    cell               a class of cells, called as cell(input size, hidden_size, device=, dtype=, **options)
    num_layers ... bidirectional   as in torch.nn.LSTM
    cut                no gradient passes between steps t - 1 and t where t is a multiple of it: truncation; 0: never
    clip               largest norm, per row, of what one step sends back to the state before it
    checkpoint_every   only every so many steps a state is kept for the backward pass, the others are computed again
    residual           from the second layer on, a layer's input is added to its output

    Call     recurrent(input, state=None, *, resets=None) -> (output, state_n)
    input    (T, B, I); with batch_first (B, T, I); (T, I); a PackedSequence, for which nothing is padded
    output   the same with as many features as the cell shows, twice as many with both directions
    state    every entry of the cell's state as [num_layers · directions, B, ...], as torch's h_0; zeros if None
    resets   bools in the layout of the input but without features: where true, a step starts from zeros
    Cost     the cell's fused scan where it has one; else a Python loop over its step

    In `cells`, direction d of layer l is cells[l · directions + d]. Raises ArgumentError where anything does not fit.
    """

    def __init__(
        self,
        cell: Callable[..., Cell],
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        cut: int = 0,
        clip: float = inf,
        checkpoint_every: int = 0,
        residual: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ):
        super().__init__()
        _check_counts(input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        if not 0 <= dropout <= 1:
            raise ArgumentError(f"dropout: expected a share between 0 and 1, got {dropout}")
        for name, steps in (("cut", cut), ("checkpoint_every", checkpoint_every)):
            if not isinstance(steps, int) or steps < 0:
                raise ArgumentError(f"{name}: expected a number of steps, 0 for none, got {steps!r}")
        if not clip > 0:
            raise ArgumentError(f"clip: expected a norm above 0, got {clip}; inf clips nothing")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.batch_first, self.dropout, self.bidirectional = batch_first, dropout, bidirectional
        self.cut, self.clip, self.checkpoint_every, self.residual = cut, clip, checkpoint_every, residual
        self.cells = nn.ModuleList()
        width = input_size
        for _ in range(num_layers):
            layer = [cell(width, hidden_size, device=device, dtype=dtype, **options) for _ in range(self.directions)]
            self.cells.extend(layer)
            width = sum(one.output_size for one in layer)

    @property
    def directions(self) -> int:
        """1, or 2 where it is bidirectional."""
        return 2 if self.bidirectional else 1

    def forward(
        self, input: Sequences, state: State | None = None, *, resets: Sequences | None = None
    ) -> tuple[Sequences, State]:
        """Outputs of the last layer at every step, and the state that every layer and direction ends in."""
        self._check_input(input)
        rows, layout = rows_of(input, batch_first=self.batch_first)
        device = rows.device.type
        if not torch.is_autocast_enabled(device):
            output, ended = self._run(rows, layout, state, resets)
            return layout.output(output), ended
        with torch.autocast(device, enabled=False):  # in the type of the weights; the output is rounded once
            output, ended = self._run(rows.to(next(self.parameters()).dtype), layout, state, resets)
        return layout.output(output.to(torch.get_autocast_dtype(device))), ended

    def _run(self, rows: Tensor, layout: Layout, state: State | None, resets: Sequences | None) -> tuple[Tensor, State]:
        start = self._start(rows, layout, state)
        names = cast(Cell, self.cells[0]).names
        options = {"cut": self.cut, "clip": self.clip, "checkpoint_every": self.checkpoint_every}
        scans = [partial(_scanned, cast(Cell, cell), **options) for cell in self.cells]
        output, ended = apply_stack(
            [scans[place : place + self.directions] for place in range(0, len(scans), self.directions)],
            rows,
            entries(start),
            dropout=self.dropout if self.training else 0.0,
            residual=self.residual,
            probes=observing.probes(self, layout, rows, names, len(self.cells)),
            batch_sizes=layout.batch_sizes,
            resets=layout.resets(resets),
        )
        return output, each(layout.state_out, rebuilt(start, ended))

    def _check_input(self, input: Sequences) -> None:
        data, dims = (input.data, (2,)) if isinstance(input, PackedSequence) else (input, (2, 3))
        if data.dim() in dims and data.shape[-1] == self.input_size:
            return
        batched = "(batch, time, {0})" if self.batch_first else "(time, batch, {0})"
        expected = (batched + ", (time, {0}) or a PackedSequence of {0} features").format(self.input_size)
        raise ArgumentError(f"input: expected {expected}, got {tuple(data.shape)}")

    def zeros(self, batch: int, *, like: Tensor) -> State:
        """The state that a call without one starts from, in dtype and on device of `like`."""
        zeros = [cast(Cell, cell).start(batch, like=like) for cell in self.cells]
        return each(lambda *places: torch.stack(places), *zeros)

    def _start(self, rows: Tensor, layout: Layout, state: State | None) -> State:
        """The state to start from, its sequences in the order of the rows."""
        zero = self.zeros(layout.batch, like=rows)
        if state is None:
            return zero
        given = [tuple(entry.shape) for entry in entries(state)]
        expected = [tuple(entry.shape) for entry in entries(each(layout.state_out, zero))]
        if given != expected:
            raise ArgumentError(
                f"state: expected shapes {expected}, layers and directions first, got {given}; "
                "pass what an earlier call returned, or None for zeros"
            )
        given = (entry.to(z.dtype) for entry, z in zip(entries(state), entries(zero), strict=True))
        return each(layout.state_in, rebuilt(zero, tuple(given)))

    def extra_repr(self) -> str:
        """The arguments that differ from their defaults."""
        shown = [str(self.input_size), str(self.hidden_size)]
        for name, argument in signature(Recurrent).parameters.items():
            if argument.default is not argument.empty and getattr(self, name, argument.default) != argument.default:
                shown.append(f"{name}={getattr(self, name)}")
        return ", ".join(shown)


def _scanned(
    cell: Cell,
    x: Tensor,
    state: tuple[Tensor, ...],
    *,
    cut: int,
    clip: float,
    checkpoint_every: int,
    **steps: Any,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """All steps of one layer in one direction, by the cell's own scan or by the loop."""
    structure, sizes, batch = cell.start(0, like=x), steps.get("batch_sizes"), state[0].shape[0]
    if cell.fuses(cut=cut, clip=clip, **steps):
        advance = partial(_fused, cell, structure, cut=cut, clip=clip)
    else:
        time = len(sizes) if sizes is not None else x.shape[0] // max(batch, 1)
        # not within what is computed twice: what is drawn for a sequence is drawn once
        step = cell.begin(time, batch, like=x)
        advance = partial(loop, cell, step, structure, cut=cut, clip=clip)
    scan = checkpointed(advance, checkpoint_every, cut=cut) if checkpoint_every else advance
    return scan(x, state, **steps)


def _fused(
    cell: Cell, structure: State, x: Tensor, state: tuple[Tensor, ...], **steps: Unpack[Steps]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    rows, ended = cell.scan(x, rebuilt(structure, state), **steps)
    return rows, entries(ended)


def loop(
    cell: Cell,
    step: Step,
    structure: State,
    x: Shaped[Tensor, "row input"],
    state: tuple[Tensor, ...],
    **steps: Unpack[Steps],
) -> tuple[Shaped[Tensor, "row output"], tuple[Tensor, ...]]:
    """A cell's step from row to row, by longreach.kernels.walk: outputs of all steps, entries of the last state.

    The norms that a probe takes up are those of dL/dstate as the state is handed on by a step. (In a fused LSTM, dL/dc
    has a part through the h of the same step besides.)
    """

    def reported(x: Tensor, before: tuple[Tensor, ...], probes: tuple[Tensor | None, ...]) -> tuple[Tensor, ...]:
        after = entries(step(x, rebuilt(structure, before)))
        # a probe has rows for the entries that the cell names: the first ones
        measured = [border.report(entry, probe) for entry, probe in zip(after, probes, strict=False)]
        return *measured, *after[len(measured) :]

    computed = any(parametrize.is_parametrized(module) for module in cell.modules())
    with parametrize.cached() if computed else nullcontext():  # a weight that is computed from others is computed once
        states, last = walk(reported, cell.project(x), state, **steps)
        empty = tuple(entry[:0] for entry in state)
        return torch.cat([cell.output(rebuilt(structure, parts)) for parts in (empty, *states)]), last


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ArgumentError(f"{name}: expected a whole number above 0, got {count}")
