"""Truncated backpropagation: windows of a stream, whose state is carried over and whose gradient is not."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from longreach.probes.samples import Sample

# Of the calls that could be compared with the one before: fewer are a coincidence.
MOST = 0.5
FEWEST = 2


@dataclass(frozen=True)
class Window(Sample):
    """One call of a recurrent layer, or one stretch of a loop, that a gradient passes through; `place` is the module.

    length     steps in it
    continued  whether it went on from the state in which the call before had ended, with no gradient passing
    seen       steps of the stream that lie before it and were recorded with it
    """

    length: int
    continued: bool
    seen: int


@dataclass(frozen=True)
class Windows:
    """How far a gradient may travel in a recurrent module before it is cut, while the state goes on.

    module   its dotted name
    length   steps from cut to cut, the median
    seen     the most steps that were recorded in one piece, across cuts: how far back a need can show
    samples  how many cuts were met
    """

    module: str
    length: int
    seen: int
    samples: int


def pool(samples: dict[str, list[Window]]) -> tuple[Windows, ...]:
    """One for each module whose state is carried over its cuts."""
    return tuple(found for place, windows in samples.items() if (found := _pooled(place, windows)))


def _pooled(place: str, windows: Sequence[Window]) -> Windows | None:
    carried = [window for window in windows if window.continued]
    if len(carried) < FEWEST or len(carried) < MOST * len(windows):
        return None
    length = round(median(window.length for window in carried))
    return Windows(place, length, max(window.seen + window.length for window in carried), len(carried))
