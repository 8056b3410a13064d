"""How many units of a layer can still change what they say: by the slope of their activation, over data and time."""

from dataclasses import dataclass
from functools import reduce
from itertools import chain
from operator import and_

from longreach.probes.samples import Sample


@dataclass(frozen=True)
class UnitsSample(Sample):
    """The units of one activation at one sampled step. Bit i of a mask stands for the i-th unit looked at.

    place      the module whose parameters feed the activation
    kind       "ReLU", "tanh", ...; of a fused recurrent layer its kind and place in the stack
    units      how many were looked at
    inputs     how many inputs of each: rows times time steps or positions
    dead       mask: the slope was 0 at every input; of a gated unit: a gate shut off all of it
    saturated  mask: at more than half of the inputs the slope was below 5 % of the largest that the activation has
    hidden     whether parameters lie between this activation and the loss; one without is an output
    cut        whether all units are dead and nothing goes round them: no error reaches what lies below
    """

    kind: str
    units: int
    inputs: int
    dead: int
    saturated: int
    hidden: bool
    cut: bool


@dataclass(frozen=True)
class Units:
    """The units of one activation over the second half of the run.

    module     the module whose parameters feed the activation
    kind       "ReLU", "tanh", ...; of a fused recurrent layer its kind and place in the stack
    units      how many were looked at, at most 256 evenly spaced
    inputs     how many inputs of each the samples of the second half have shown
    dead       share of units that let nothing through at any of these inputs; in [0, 1]
    saturated  share of units whose slope was below 5 % of its maximum at most inputs of most samples; in [0, 1]
    since      training step from which on all samples had as many dead units, and nine tenths as many saturated ones
    hidden     whether parameters lie between this activation and the loss
    cut        whether in the latest sample no unit passed anything and nothing went round them
    samples    how many sampled steps of the second half were pooled
    """

    module: str
    kind: str
    units: int
    inputs: int
    dead: float
    saturated: float
    since: int
    hidden: bool
    cut: bool
    samples: int


def pool(samples: dict[str, list[UnitsSample]]) -> tuple[Units, ...]:
    """One for each kind of activation behind each module."""
    groups: dict[tuple[str, str, int], list[UnitsSample]] = {}
    for sample in chain.from_iterable(samples.values()):
        if sample.units:
            groups.setdefault((sample.place, sample.kind, sample.units), []).append(sample)
    return tuple(_pooled(group) for group in groups.values())


def _pooled(samples: list[UnitsSample]) -> Units:
    last = samples[-1]
    late = [sample for sample in samples if 2 * sample.step >= last.step]
    dead = reduce(and_, (sample.dead for sample in late))
    often = [sum(sample.saturated >> unit & 1 for sample in late) for unit in range(last.units)]
    saturated = sum(2 * count > len(late) for count in often)
    return Units(
        module=last.place,
        kind=last.kind,
        units=last.units,
        inputs=sum(sample.inputs for sample in late),
        dead=dead.bit_count() / last.units,
        saturated=saturated / last.units,
        since=_since(samples, dead, saturated),
        hidden=last.hidden,
        cut=last.cut,
        samples=len(late),
    )


def _since(samples: list[UnitsSample], dead: int, saturated: int) -> int:
    first = samples[-1].step
    for sample in reversed(samples):
        if dead & ~sample.dead or sample.saturated.bit_count() < 0.9 * saturated:
            break
        first = sample.step
    return first
