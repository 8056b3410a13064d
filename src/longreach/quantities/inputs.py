"""In which units the data come: offsets, and scales of the features, as the first layer gets them."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from longreach.probes.samples import Sample


@dataclass(frozen=True)
class InputSample(Sample):
    """What one module got from outside of the model at one sampled step.

    A feature's deviation is its standard deviation over rows and time, or an eighth of its range if that is more: a
    rare event is no small feature. Features that did not change are left out.

    place      the first module that reads the data
    features   how many of them changed
    scale      root mean square of all values
    mean       of the feature whose mean is the largest in units of its deviation
    deviation  of that feature
    largest    the largest deviation of a feature
    smaller    the deviation that a quarter of the features stay below
    """

    features: int
    scale: float
    mean: float
    deviation: float
    largest: float
    smaller: float


@dataclass(frozen=True)
class Input:
    """What one module got from outside of the model: the medians of its samples.

    module     the first module that reads the data
    features   how many of them changed
    scale      root mean square of all values
    offset     the largest mean of a feature, in units of its deviation
    mean       of that feature
    deviation  of that feature
    spread     the largest deviation of a feature over the one that a quarter of the features stay below
    largest    the largest deviation of a feature
    smaller    the deviation that a quarter of the features stay below
    samples    how many sampled steps were pooled
    """

    module: str
    features: int
    scale: float
    offset: float
    mean: float
    deviation: float
    spread: float
    largest: float
    smaller: float
    samples: int


def pool(samples: dict[str, list[InputSample]]) -> tuple[Input, ...]:
    """One for each module."""
    return tuple(_pooled(found) for found in samples.values() if found)


def _pooled(samples: Sequence[InputSample]) -> Input:
    typical = sorted(samples, key=lambda sample: abs(sample.mean) / sample.deviation)[len(samples) // 2]
    spread = sorted(samples, key=lambda sample: sample.largest / sample.smaller)[len(samples) // 2]
    return Input(
        module=samples[-1].place,
        features=max(sample.features for sample in samples),
        scale=median(sample.scale for sample in samples),
        offset=abs(typical.mean) / typical.deviation,
        mean=typical.mean,
        deviation=typical.deviation,
        spread=spread.largest / spread.smaller,
        largest=spread.largest,
        smaller=spread.smaller,
        samples=len(samples),
    )
