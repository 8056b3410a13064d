"""Sliding windows: sequences that hold the same stretch of one series are no independent witnesses."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import UInt64

from longreach.probes.samples import Pairs

# A run of so many steps, with so many changes from step to step, that comes again is taken to be the same stretch of
# data. Shorter or duller ones come again by accident, in text and in other inputs of few values.
RUN, CHANGES = 8, 6
# Of a sequence, so many runs are looked up; it overlaps if more than this share, and this number of them, are known.
LOOKS, SHARE, ACCIDENTS = 64, 0.1, 3


def without_overlaps(pairs: Sequence[Pairs]) -> list[Pairs]:
    """The sequences that have at most a tenth of their runs of steps in common with one kept before; latest first.

    Errors of overlapping windows resemble each other and so do their inputs: re-paired, they would pass for many
    independent sequences, and a need would be found where there is none.

    Cost    one pass over the steps where nothing overlaps, else one dictionary of the runs that are kept
    Blind   to windows that were each scaled by themselves: their numbers differ
    """
    runs = [[_runs(row[len(row) - length :]) for row, length in zip(p.inputs, p.lengths, strict=True)] for p in pairs]
    everything = np.concatenate([np.unique(found) for sample in runs for found in sample] or [np.empty(0, np.uint64)])
    if len(np.unique(everything)) == len(everything):
        return list(pairs)
    known: set[int] = set()
    kept = []
    for sample, found in zip(reversed(pairs), reversed(runs), strict=True):
        new = [row for row, hashes in enumerate(found) if _is_new(hashes, known)]
        kept.append(replace(sample, inputs=sample.inputs[new], errors=sample.errors[new], lengths=sample.lengths[new]))
    return kept[::-1]


def _is_new(hashes: UInt64[np.ndarray, " run"], known: set[int]) -> bool:
    """Whether a sequence is to be kept; if so, its runs become known."""
    looked_up = hashes[np.arange(min(LOOKS, len(hashes))) * len(hashes) // max(1, min(LOOKS, len(hashes)))].tolist()
    if sum(value in known for value in looked_up) > max(SHARE * len(looked_up), ACCIDENTS):
        return False
    known.update(hashes.tolist())
    return True


def _runs(steps: np.ndarray) -> UInt64[np.ndarray, " run"]:
    """One number for each run of RUN steps that is no dull one."""
    if len(steps) <= RUN:
        return np.empty(0, np.uint64)
    words = np.ascontiguousarray(steps).view(np.uint8).reshape(len(steps), -1)
    words = np.pad(words, ((0, 0), (0, -words.shape[1] % 8))).view(np.uint64)
    rng = np.random.default_rng(0)
    # sums of products with odd numbers, modulo 2^64: equal for equal runs, and hardly ever otherwise
    weights = rng.integers(2**63, size=words.shape[1], dtype=np.uint64) * 2 + 1
    step = _mixed((words * weights).sum(axis=1, dtype=np.uint64))
    window = np.lib.stride_tricks.sliding_window_view(step, RUN)
    places = rng.integers(2**63, size=RUN, dtype=np.uint64) * 2 + 1
    hashes = (window * places).sum(axis=1, dtype=np.uint64)
    return hashes[(window[:, 1:] != window[:, :-1]).sum(axis=1) >= CHANGES]


def _mixed(values: UInt64[np.ndarray, " step"]) -> UInt64[np.ndarray, " step"]:
    """Spread the bits, so that steps that differ in few bits get numbers that differ in many (splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
