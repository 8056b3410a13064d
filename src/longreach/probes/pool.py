"""Which inputs and errors the need test sees, and which sequences it may re-pair with which."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int, Num

from longreach.errors import ArgumentError
from longreach.probes.overlaps import without_overlaps
from longreach.probes.samples import Pairs

ENTRIES = 2_000_000  # sequence steps kept at most: with 32 features of 4 bytes, a quarter of a gigabyte
FEW = 24  # below this many sequences, they are cut into pieces
PIECES = 48  # how many pieces there should be then
SHORTEST = 8  # steps that a piece must have
STRATUM = 16  # sequences in a stratum, at least


@dataclass(frozen=True)
class Pool:
    """Sequences of one layer, right-aligned; those of one stratum stand next to each other.

    inputs    x_t: real features, or token ids with a feature axis of length 1; 0 before a sequence's first step
    errors    g_t over its root mean square; 0 before a sequence's first step
    lengths   valid steps of each sequence, counted from the end
    strata    which stratum a sequence belongs to, ascending; sequences are re-paired within their stratum
    seen      how many sequences these are, before any was cut into pieces
    tokens    whether the inputs are token ids
    """

    inputs: Num[np.ndarray, "sequence time feature"]
    errors: Float32[np.ndarray, "sequence time direction"]
    lengths: Int[np.ndarray, " sequence"]
    strata: Int[np.ndarray, " sequence"]
    seen: int
    tokens: bool

    def first(self, count: int) -> "Pool":
        """At most `count` sequences, evenly spread over the pool."""
        if count >= len(self.lengths):
            return self
        kept = np.arange(count) * len(self.lengths) // count
        parts = (self.inputs[kept], self.errors[kept], self.lengths[kept], self.strata[kept])
        return Pool(*parts, seen=min(self.seen, count), tokens=self.tokens)


def pool(pairs: Sequence[Pairs]) -> Pool | None:
    """One pool of all samples of one layer; None if no sequence is left, or if no error differs from 0.

    Left out   sequences with a NaN or an infinity in a valid step; a sequence whose very inputs come again in a later
               sampled step (a small data set seen for many epochs is no larger than it is: counting its sequences
               twice would count their accidents twice), and one that overlaps with a later one (sliding windows of
               one series). Where there are more than ENTRIES steps, sequences evenly.
    Strata     neighbouring sampled steps, until 16 sequences are together: weights and data may both drift during a
               run, and a drift they share is no need. Below 24 sequences whose error comes in most steps (long
               streams), each is cut into pieces that become the sequences, and the pieces of one sequence are its
               stratum. The longest lag then is a piece's length - 1.
    """
    _check(pairs)
    pairs = [kept for pair in without_overlaps(_last_seen(pairs)) if len((kept := _finite(pair)).lengths)]
    if not pairs:
        return None
    steps = np.concatenate([np.full(len(pair.lengths), pair.step) for pair in pairs])
    inputs, errors = _aligned([pair.inputs for pair in pairs]), _aligned([pair.errors for pair in pairs])
    size = np.sqrt(np.mean(np.square(errors, dtype=np.float64)))
    if size == 0:
        return None
    lengths = np.concatenate([pair.lengths for pair in pairs])
    whole = Pool(inputs, (errors / size).astype(np.float32), lengths, _strata(steps), len(lengths), pairs[0].tokens)
    return _pieces(whole.first(max(64, ENTRIES // inputs.shape[1])))


def _check(pairs: Sequence[Pairs]) -> None:
    shapes = {(pair.inputs.shape[2], pair.errors.shape[2], pair.tokens) for pair in pairs}
    if len(shapes) > 1:
        raise ArgumentError(
            f"pairs: expected samples of one layer, with equal numbers of features and directions, got (features, "
            f"directions, tokens) = {sorted(shapes)}; test each layer, and each kind of input, by itself"
        )


def _last_seen(pairs: Sequence[Pairs]) -> list[Pairs]:
    """The samples without the sequences whose inputs a later sampled step has again."""
    later: set[tuple[int, bytes]] = set()
    kept = []
    for pair in sorted(pairs, key=lambda pair: pair.step, reverse=True):
        keys = [
            (int(length), np.ascontiguousarray(row[row.shape[0] - length :]).tobytes())
            for row, length in zip(pair.inputs, pair.lengths, strict=True)
        ]
        kept.append(_subset(pair, np.array([key not in later for key in keys], dtype=bool)))
        later.update(keys)
    return kept[::-1]


def _finite(pair: Pairs) -> Pairs:
    """The sequences that have at least one step and only finite numbers; steps before the first become 0."""
    steps = pair.inputs.shape[1]
    valid = np.arange(steps) >= steps - pair.lengths[:, None]
    inputs, errors = np.where(valid[:, :, None], pair.inputs, 0), np.where(valid[:, :, None], pair.errors, 0)
    fine = np.isfinite(inputs).all(axis=(1, 2)) & np.isfinite(errors).all(axis=(1, 2)) & (pair.lengths > 0)
    return _subset(Pairs(pair.step, inputs, errors, pair.lengths, pair.tokens), fine)


def _subset(pair: Pairs, kept: np.ndarray) -> Pairs:
    return Pairs(pair.step, pair.inputs[kept], pair.errors[kept], pair.lengths[kept], pair.tokens)


def _aligned(blocks: list[np.ndarray]) -> np.ndarray:
    """The blocks on top of each other, filled with zeros on the left up to the longest."""
    longest = max(block.shape[1] for block in blocks)
    return np.concatenate([np.pad(block, ((0, 0), (longest - block.shape[1], 0), (0, 0))) for block in blocks])


def _strata(steps: np.ndarray) -> np.ndarray:
    """Neighbouring steps until 16 sequences are together; what is left at the end joins the last stratum."""
    starts = np.flatnonzero(np.diff(steps, prepend=steps[0] - 1))
    borders = [0]
    for start in starts:
        if start - borders[-1] >= STRATUM and len(steps) - start >= STRATUM:
            borders.append(int(start))
    return np.searchsorted(borders, np.arange(len(steps)), side="right") - 1


def _pieces(whole: Pool) -> Pool:
    """Few long streams cut into pieces, each sequence a stratum of its own; anything else as it is."""
    count, steps = whole.inputs.shape[:2]
    pieces = -(-PIECES // count)
    length = steps // pieces
    dense = (np.abs(whole.errors).max(axis=(0, 2)) > 0).mean() > 0.5
    if count >= FEW or length < SHORTEST or not dense:
        return whole

    def cut(rows: np.ndarray) -> np.ndarray:
        return rows[:, steps - pieces * length :].reshape(count * pieces, length, rows.shape[2])

    ends = np.arange(pieces - 1, -1, -1) * length  # steps between a piece's end and its sequence's end
    lengths = np.clip(whole.lengths[:, None] - ends, 0, length).ravel()
    strata = np.repeat(np.arange(count), pieces)
    kept = lengths > 0
    parts = (cut(whole.inputs)[kept], cut(whole.errors)[kept], lengths[kept], strata[kept])
    return Pool(*parts, seen=whole.seen, tokens=whole.tokens)
