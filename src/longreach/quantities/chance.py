"""What the loss would be of an answer that never looks at its input: how much of a loss is still to be learned."""

from dataclasses import dataclass
from itertools import chain
from statistics import median

from longreach.probes.samples import Sample


@dataclass(frozen=True)
class ChanceSample(Sample):
    """One loss at one sampled step.

    place   ""
    chance  the loss of the best constant answer to the same targets, corrected for being fitted to them
    """

    chance: float


def pool(samples: dict[str, list[ChanceSample]]) -> float | None:
    """The median over the run; None if no loss could be read, or a constant answer makes none."""
    values = [sample.chance for sample in chain.from_iterable(samples.values()) if sample.chance > 0]
    return median(values) if values else None
