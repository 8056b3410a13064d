"""How far the optimizer moves the weights, against their size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from longreach.probes.samples import Sample

# Of the run: what is read as its beginning.
EARLY = 0.1


@dataclass(frozen=True)
class Update(Sample):
    """One optimizer step, as one matrix of weights took it; `place` is the parameter's dotted name.

    module     dotted name of the module that the parameter belongs to; "" if none is known
    size       number of entries
    dtype      of the parameter: "float32"
    optimizer  class of the optimizer: "Adam"
    lr         its learning rate for this parameter; NaN where it has none
    ratio      ‖Δw‖ / ‖w‖ of this step; 1
    moved      ‖w - w₀‖ / ‖w₀‖, w₀ as it was at the first sampled step; 1
    unmoved    share of the entries with a gradient that the step left exactly as they were; NaN without a gradient
    """

    module: str
    size: int
    dtype: str
    optimizer: str
    lr: float
    ratio: float
    moved: float
    unmoved: float


@dataclass(frozen=True)
class Updates:
    """The updates of one matrix of weights over the run. Medians over sampled steps, of the second half of the run.

    parameter  its dotted name
    module     dotted name of the module it belongs to; "" if none is known
    size       number of entries
    dtype      "float32"
    optimizer  class of the optimizer: "Adam"
    lr         its learning rate; NaN where it has none
    ratio      ‖Δw‖ / ‖w‖ of a step
    early      the same over the first tenth of the run
    moved      ‖w - w₀‖ / ‖w₀‖ at the last sampled step: how far the run as a whole has come
    unmoved    share of the entries with a gradient that a step left exactly as they were; NaN where none was seen
    samples    how many sampled steps there were
    """

    parameter: str
    module: str
    size: int
    dtype: str
    optimizer: str
    lr: float
    ratio: float
    early: float
    moved: float
    unmoved: float
    samples: int


def pool(samples: dict[str, list[Update]], steps: int) -> tuple[Updates, ...]:
    """One for each parameter; `steps` is the number of steps of the run."""
    return tuple(_pooled(found, steps) for found in samples.values() if found)


def _pooled(found: Sequence[Update], steps: int) -> Updates:
    last = found[-1]
    late = [sample for sample in found if 2 * sample.step >= steps] or [last]
    early = [sample for sample in found if sample.step < EARLY * steps] or found[:1]
    return Updates(
        parameter=last.place,
        module=last.module,
        size=last.size,
        dtype=last.dtype,
        optimizer=last.optimizer,
        lr=middle([sample.lr for sample in late]),
        ratio=middle([sample.ratio for sample in late]),
        early=middle([sample.ratio for sample in early]),
        moved=last.moved,
        unmoved=middle([sample.unmoved for sample in late]),
        samples=len(found),
    )


def middle(values: Sequence[float]) -> float:
    """The median of those values that are numbers; NaN if there is none."""
    numbers = [value for value in values if not math.isnan(value)]
    return median(numbers) if numbers else math.nan
