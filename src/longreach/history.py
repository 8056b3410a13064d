"""The course of a run: what was measured at which training step, for pictures. No torch, no opinion.

A `Record` pools what was measured, so that it can be judged; a `History` keeps the steps apart, so that it can be seen
how things came about. It is as bounded as the store it is read from.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from longreach.diagnosis.wording import counted
from longreach.probes import reach
from longreach.probes.samples import Curve, LayerKey
from longreach.quantities.clipping import NORM, Clip
from longreach.quantities.gradients import GradientNorm
from longreach.quantities.spikes import Spike
from longreach.quantities.units import UnitsSample
from longreach.quantities.updates import Update
from longreach.record import NonFinite
from longreach.store import Store


@dataclass(frozen=True)
class Track:
    """One quantity over the run.

    name    of what it belongs to: a parameter, a module, or what the quantity is called
    steps   training steps, ascending
    values  there; NaN and infinities are kept
    """

    name: str
    steps: tuple[int, ...] = ()
    values: tuple[float, ...] = ()

    @classmethod
    def of(cls, name: str, points: Iterable[tuple[int, float]]) -> Self:
        """From (step, value), in the order of the run."""
        points = list(points)
        return cls(name, tuple(step for step, _ in points), tuple(value for _, value in points))


@dataclass(frozen=True)
class ReachTrack:
    """How the reach of one layer came about.

    layer     which layer and direction
    steps     sampled training steps, ascending
    lags      measured lags of each of them, ascending from 0; a step's own, for sequences may differ in length
    log_gain  ln gain at these lags; -inf where nothing is left
    reach     the largest lag with gain >= 0.01, at each of the steps
    """

    layer: LayerKey
    steps: tuple[int, ...]
    lags: tuple[tuple[int, ...], ...]
    log_gain: tuple[tuple[float, ...], ...]
    reach: tuple[int, ...]


@dataclass(frozen=True)
class Mark:
    """Something that happened at a training step.

    what  "spike", "skipped", "went back", "NaN or infinity"
    text  a sentence about it
    """

    step: int
    what: str
    text: str


@dataclass(frozen=True)
class History:
    """The course of a run.

    losses             of the run, at most 20,000 points: the mean from a step to the next one
    before, after      norm of the whole gradient as it came back, and as the optimizer used it
    limit              the largest norm that clip_grad_norm_ allowed
    reach              one per recurrent layer and direction
    updates            ‖Δw‖ / ‖w‖ of a step, one per matrix of weights
    dead, saturated    share of units, one per activation; in [0, 1]
    marks              what happened, in the order of the run
    """

    losses: Track = Track("loss")
    before: Track = Track("gradient")
    after: Track = Track("as used")
    limit: Track = Track("limit")
    reach: tuple[ReachTrack, ...] = ()
    updates: tuple[Track, ...] = ()
    dead: tuple[Track, ...] = ()
    saturated: tuple[Track, ...] = ()
    marks: tuple[Mark, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing at all is in it."""
        return self == History()


def history(store: Store) -> History:
    """Read the course of a run from its store, over or still being written.

    Cost    some 0.2 s for a full store
    Raises  RunReadError where the store is damaged
    """
    norms = store.samples(GradientNorm).get("", [])
    clips = store.samples(Clip).get(NORM, [])
    units = {
        f"{place} {found[-1].kind}".strip(): [sample for sample in found if sample.units]
        for place, found in store.samples(UnitsSample).items()
    }
    return History(
        losses=Track.of("loss", store.losses()),
        before=Track.of("gradient", ((sample.step, sample.before) for sample in norms)),
        after=Track.of("as used", ((sample.step, sample.after) for sample in norms)),
        limit=Track.of("limit", ((sample.step, sample.limit) for sample in clips)),
        reach=tuple(_reach(key, curves) for key, curves in store.curves().items()),
        updates=tuple(
            Track.of(place, ((sample.step, sample.ratio) for sample in found))
            for place, found in store.samples(Update).items()
        ),
        dead=_shares(units, lambda sample: sample.dead),
        saturated=_shares(units, lambda sample: sample.saturated),
        marks=tuple(sorted(_marks(store), key=lambda mark: mark.step)),
    )


def _reach(key: LayerKey, curves: Sequence[Curve]) -> ReachTrack:
    return ReachTrack(
        layer=key,
        steps=tuple(curve.step for curve in curves),
        lags=tuple(curve.lags for curve in curves),
        log_gain=tuple(curve.log_gain for curve in curves),
        reach=tuple(reach.reach_of(curve.lags, curve.log_gain) for curve in curves),
    )


def _shares(units: dict[str, list[UnitsSample]], mask: Callable[[UnitsSample], int]) -> tuple[Track, ...]:
    return tuple(
        Track.of(name, ((sample.step, mask(sample).bit_count() / sample.units) for sample in found))
        for name, found in units.items()
        if found
    )


def _marks(store: Store) -> Iterable[Mark]:
    for spike in store.samples(Spike).get("", []):
        back = f"it was back after {counted(spike.lasted, 'step')}" if spike.over else "it did not come back"
        whose = f"; the gradient of {spike.module} rose first, at step {spike.rose}" if spike.module else ""
        height = f"{spike.height:.3g}" if math.isfinite(spike.height) else "NaN or infinity"
        yield Mark(spike.step, "spike", f"the loss rose from {spike.level:.3g} to {height}; {back}{whose}")
    event = store.nonfinite()
    if event is not None:
        yield Mark(event.step, "NaN or infinity", _first(event))


def _first(event: NonFinite) -> str:
    where = f" in {event.module}" if event.module else ""
    when = f" at time step {event.time_step}" if event.time_step is not None else ""
    value = "NaN" if event.value == "nan" else "infinity"
    return f"the first {value}{where}{when}, on the way {event.direction}; cause: {event.cause}"
