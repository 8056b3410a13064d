"""The layouts of a sequence, and rows: nothing but this file knows that there is more than one of them.

A row is one step of one sequence. Rows are time-major: (time, batch, feature), (batch, time, feature) and
(time, feature) become rows t·B + b of one matrix, and a PackedSequence holds rows already: the sequences by falling
length, `batch_sizes[t]` of them at step t. No padding exists below a layer, and nothing is turned round.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from longreach.errors import ArgumentError

Sequences = Shaped[Tensor, "..."] | PackedSequence


class Layout(NamedTuple):
    """How the rows of one call lie in what the caller gave, and the way back.

    time, batch      T and B: steps of the longest sequence, and sequences
    batch_sizes      of packed rows, int64 [T] on the CPU; None: dense rows, T of each sequence
    sorted_indices   caller's place of the b-th longest sequence; None: the caller's order is that of the rows
    unsorted_indices the inverse
    batch_dim        where the caller's tensor has its sequences: 0, 1, or None for one sequence without a batch
    """

    time: int
    batch: int
    batch_sizes: Int[Tensor, " time"] | None
    sorted_indices: Int[Tensor, " batch"] | None
    unsorted_indices: Int[Tensor, " batch"] | None
    batch_dim: int | None

    def output(self, rows: Shaped[Tensor, "row unit"]) -> Sequences:
        """Rows in the caller's layout: a view, or the PackedSequence that holds them."""
        if self.batch_sizes is not None:
            return PackedSequence(rows, self.batch_sizes, self.sorted_indices, self.unsorted_indices)
        if self.batch_dim is None:
            return rows
        steps = rows.reshape(self.time, self.batch, rows.shape[1])
        return steps if self.batch_dim == 1 else steps.transpose(0, 1)

    @property
    def state_dims(self) -> int:
        """Dimensions of an entry of the caller's state, if it is a vector for each sequence."""
        return 2 if self.batch_dim is None and self.batch_sizes is None else 3

    def state_in(self, entry: Shaped[Tensor, "place *rest"]) -> Shaped[Tensor, "place batch *unit"]:
        """One entry of the caller's state, its sequences in the order of the rows."""
        if self.state_dims == 2:
            return entry.unsqueeze(1)
        return entry if self.sorted_indices is None else entry.index_select(1, self.sorted_indices)

    def state_out(self, entry: Shaped[Tensor, "place batch *unit"]) -> Shaped[Tensor, "place *rest"]:
        """The inverse of `state_in`."""
        if self.state_dims == 2:
            return entry.squeeze(1)
        return entry if self.unsorted_indices is None else entry.index_select(1, self.unsorted_indices)

    def padded(self, rows: Shaped[Tensor, " row"]) -> Shaped[Tensor, "time batch"]:
        """One number of each row by step and sequence, the sequences as the caller has them; 0 behind their end."""
        if self.batch_sizes is None:
            return rows.reshape(self.time, self.batch)
        packed = PackedSequence(rows, self.batch_sizes, self.sorted_indices, self.unsorted_indices)
        return pad_packed_sequence(packed)[0]

    def resets(self, resets: Sequences | None) -> Bool[Tensor, " row"] | None:
        """Flags, one for every step of every sequence, in the layout of the input but without features, as rows.

        Raises ArgumentError where they do not fit the input.
        """
        if resets is None:
            return None
        if self.batch_sizes is not None:
            return self._packed_resets(resets, self.batch_sizes)
        expected = {None: (self.time,), 0: (self.batch, self.time), 1: (self.time, self.batch)}[self.batch_dim]
        if not isinstance(resets, Tensor) or resets.dtype != torch.bool or tuple(resets.shape) != expected:
            raise ArgumentError(
                f"resets: expected a bool tensor of shape {expected}, one flag for each step of each sequence, "
                f"got {_described(resets)}; true where a step starts anew"
            )
        return (resets.T if self.batch_dim == 0 else resets).reshape(-1).contiguous()

    def _packed_resets(self, resets: Sequences, batch_sizes: Int[Tensor, " time"]) -> Bool[Tensor, " row"]:
        if (
            not isinstance(resets, PackedSequence)
            or resets.data.dtype != torch.bool
            or resets.data.dim() != 1
            # in a compiled graph lengths are not known; there the kernel compares the rows
            or not (torch.compiler.is_compiling() or torch.equal(resets.batch_sizes, batch_sizes))
        ):
            raise ArgumentError(
                "resets: expected a PackedSequence of bools with the lengths of the packed input, got "
                f"{_described(resets)}; pack the flags as the input was packed"
            )
        return resets.data


def rows_of(input: Sequences, *, batch_first: bool = False) -> tuple[Shaped[Tensor, "row feature"], Layout]:
    """The rows of a layer's input, and its layout.

    input    (time, batch, feature); with `batch_first` (batch, time, feature); (time, feature); a PackedSequence
    Cost     a view, but for batch-first and strided input: one copy of it
    """
    if isinstance(input, PackedSequence):
        rows, sizes, sorted_indices, unsorted_indices = input
        # a size rather than a value where there is one: torch.compile knows sizes
        batch = int(sizes[0]) if sorted_indices is None else len(sorted_indices)
        return rows, Layout(len(sizes), batch, sizes, sorted_indices, unsorted_indices, None)
    if input.dim() == 2:
        return input, Layout(input.shape[0], 1, None, None, None, None)
    steps = input.transpose(0, 1) if batch_first else input
    return steps.flatten(0, 1), Layout(steps.shape[0], steps.shape[1], None, None, None, 0 if batch_first else 1)


def _described(value: object) -> str:
    if isinstance(value, PackedSequence):
        return f"a PackedSequence of {value.data.dtype} with batch_sizes {value.batch_sizes.tolist()}"
    if isinstance(value, Tensor):
        return f"a tensor of {value.dtype} of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"
