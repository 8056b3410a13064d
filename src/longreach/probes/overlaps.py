"""Sliding windows: sequences that hold the same stretch of one series are no independent witnesses."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import UInt64

from longreach.probes.samples import Pairs

Hashes = UInt64[np.ndarray, " _"]

# Runs of at least so many steps are compared; of more where few values make a run come again by accident, until one in
# a thousand does.
SHORTEST_RUN, ACCIDENT = 8, 1e-3
# Of a sequence, so many runs are looked up; it overlaps if more than this share of them is known, and more than FEW.
LOOKS, SHARE, FEW = 64, 0.1, 3


def without_overlaps(pairs: Sequence[Pairs]) -> list[Pairs]:
    """The sequences that have at most a tenth of their steps in common with one kept before; the latest go first.

    Errors of overlapping windows resemble each other and so do their inputs: re-paired, they would pass for many
    independent sequences, and a need would be found where there is none.

    Cost    one pass over the steps where nothing overlaps, else one set of the runs that are kept
    Blind   to windows that were each scaled by themselves, and to inputs that repeat themselves within a sequence,
            of which no run is long enough to tell a stretch of data from its like
    """
    steps = [[_steps(row[len(row) - n :]) for row, n in zip(p.inputs, p.lengths, strict=True)] for p in pairs]
    length = _telling_length([found for sample in steps for found in sample])
    if length is None:
        return list(pairs)
    runs = [[_runs(found, length) for found in sample] for sample in steps]
    everything = np.concatenate([np.unique(found) for sample in runs for found in sample] or [np.empty(0, np.uint64)])
    if len(np.unique(everything)) == len(everything):
        return list(pairs)
    known: set[int] = set()
    kept = []
    for sample, found in zip(reversed(pairs), reversed(runs), strict=True):
        new = [row for row, hashes in enumerate(found) if _is_new(hashes, known)]
        arrays = {name: getattr(sample, name)[new] for name in ("inputs", "errors", "lengths")}
        kept.append(replace(sample, **arrays))
    return kept[::-1]


def _is_new(hashes: Hashes, known: set[int]) -> bool:
    """Whether a sequence is to be kept; if so, its runs become known."""
    count = min(LOOKS, len(hashes))
    looked_up = hashes[np.arange(count) * len(hashes) // max(1, count)].tolist()
    if sum(value in known for value in looked_up) > max(SHARE * count, FEW):
        return False
    known.update(hashes.tolist())
    return True


def _telling_length(sequences: Sequence[Hashes]) -> int | None:
    """How long a run must be to come again by accident once in a thousand; None if half of a sequence is too short.

    How often a step comes again within its own sequence, and how often the next one then does too, tells how likely
    accidents are; between sequences the overlaps themselves would be counted.
    """
    single, double, places = 0, 0, 0
    for found in sequences:
        single += _repeats(found[:-1])
        double += _repeats(_mixed(found[:-1]) + found[1:])
        places += max(0, len(found) - 1) * max(0, len(found) - 2)
    total = sum(map(len, sequences))
    length = SHORTEST_RUN
    while single and total * (single / places) * (double / single) ** (length - 1) > ACCIDENT:
        length *= 2
        if 2 * length > max(map(len, sequences)):
            return None
    return length


def _repeats(values: Hashes) -> int:
    """Ordered pairs of different places that hold the same value."""
    counts = np.unique(values, return_counts=True)[1]
    return int((counts * (counts - 1)).sum())


def _steps(rows: np.ndarray) -> Hashes:
    """One number for each step that differs from the one before: equal for equal steps, and hardly ever otherwise.

    A stretch in which nothing changes (padding, a stuck sensor) looks like any other such stretch: it counts as a step.
    """
    if not len(rows):
        return np.empty(0, np.uint64)
    words = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
    words = np.pad(words, ((0, 0), (0, -words.shape[1] % 8))).view(np.uint64)
    weights = np.random.default_rng(0).integers(2**63, size=words.shape[1], dtype=np.uint64) * 2 + 1
    numbers = _mixed((words * weights).sum(axis=1, dtype=np.uint64))
    return numbers[np.append(True, numbers[1:] != numbers[:-1])]


def _runs(steps: Hashes, length: int) -> Hashes:
    """One number for each run of `length` steps, a power of 2, put together from halves."""
    if len(steps) < 2 * length:
        return np.empty(0, np.uint64)
    runs, width = steps, 1
    while width < length:
        runs, width = _mixed(runs[:-width]) + runs[width:], 2 * width
    return runs


def _mixed(values: Hashes) -> Hashes:
    """Spread the bits, so that numbers that differ in few of them come to differ in many (splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
