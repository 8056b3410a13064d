"""Whether weight matrices have kept what they began with: their size, their rank, and differences between units."""

from collections.abc import Sequence
from dataclasses import dataclass

from longreach.probes.samples import Sample


@dataclass(frozen=True)
class WeightSample(Sample):
    """One weight matrix W at one sampled step; more than two dimensions are a matrix of one row for each output.

    place   dotted name of the parameter
    shape   rows and columns looked at, evenly spaced ones of those there are
    size    root mean square of its entries
    rank    (Σσ²)² / Σσ⁴ over its singular values σ: how many directions carry its energy, in [1, min(shape)]
    clones  the larger of the shares of its energy that all rows, or all columns, have in common; 1 if all are the same
    """

    shape: tuple[int, ...]
    size: float
    rank: float
    clones: float


@dataclass(frozen=True)
class Weight:
    """One weight matrix over the run: at its first sample and at the latest.

    parameter    its dotted name
    shape        rows and columns looked at
    size_start   root mean square of its entries when the run began
    size         the largest root mean square of its entries in the second half of the run
    rank_start   how many directions carried its energy when the run began
    rank         the largest such number in the second half of the run
    clones       the smallest share of its energy, in the second half of the run, that all rows or columns share
    since        training step from which on it has been as it is at the end: zero, cloned, or below a tenth of its size
    samples      how many sampled steps of the second half were pooled
    """

    parameter: str
    shape: tuple[int, ...]
    size_start: float
    size: float
    rank_start: float
    rank: float
    clones: float
    since: int
    samples: int


def pool(samples: dict[str, list[WeightSample]]) -> tuple[Weight, ...]:
    """One for each matrix that was seen after the first step."""
    return tuple(_pooled(found) for found in samples.values() if found and found[-1].step > 0)


def _pooled(samples: Sequence[WeightSample]) -> Weight:
    first, last = samples[0], samples[-1]
    late = [sample for sample in samples if 2 * sample.step >= last.step]
    return Weight(
        parameter=last.place,
        shape=last.shape,
        size_start=first.size,
        size=max(sample.size for sample in late),
        rank_start=first.rank,
        rank=max(sample.rank for sample in late),
        clones=min(sample.clones for sample in late),
        since=_since(samples),
        samples=len(late),
    )


def _since(samples: Sequence[WeightSample]) -> int:
    """The first step after which the size did not leave twice the latest, nor the rank, nor the clones."""
    last, first = samples[-1], samples[-1].step
    for sample in reversed(samples):
        if sample.size > 2 * last.size or sample.rank > 2 * last.rank or sample.clones < last.clones - 0.01:
            break
        first = sample.step
    return first
