"""The scalars of a run, under the names that every integration gives them. No library is imported here.

longreach/loss                     at every step
longreach/gradient_norm            of the whole gradient as it came back; longreach/gradient_norm_used: after clipping
longreach/clip_limit               what a clipping function allowed
longreach/reach/LAYER              steps; longreach/growth/LAYER: nats per step
longreach/update/WEIGHTS           ‖Δw‖ / ‖w‖ of a step
longreach/dead/UNITS, saturated    share of units
longreach/non_finite               NaN and infinities met up to this step: among these numbers, and the run's first
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from longreach.diagnosis import Diagnosis
from longreach.diagnosis.stacks import asked, named
from longreach.history import History, Mark, ReachTrack, Track, history
from longreach.probes.reach import growth_of

if TYPE_CHECKING:
    from longreach.probes.samples import LayerKey
    from longreach.record import Layer
    from longreach.watching import Watch

PREFIX = "longreach/"
NON_FINITE = "non_finite"
ODD = "NaN or infinity"  # what such a mark is called in a history


@dataclass(frozen=True)
class Run:
    """What was measured of a training, its course and its verdict.

    folder  its run folder; None where it was only watched
    """

    diagnosis: Diagnosis
    history: History
    folder: Path | None = None

    @classmethod
    def of(cls, run: "Run | Watch | Path | str") -> Self | "Run":
        """From a run folder, or from a watch that is over or still going on.

        Cost    the need tests, about a second for each recurrent layer, where the run was not judged yet
        Raises  RunReadError where the folder holds no record, or a damaged one
        """
        if isinstance(run, Run):
            return run
        if not isinstance(run, (Path, str)):
            return cls(run.diagnose(), history(run.store))
        from longreach.launch import read_run
        from longreach.store import Store

        store = Store.open(Path(run))
        try:
            return cls(read_run(Path(run)), history(store), Path(run))
        finally:
            store.close()

    def courses(self) -> tuple[Track, ...]:
        """Every quantity over the training steps; NaN and infinities are kept, and counted in the last one."""
        found = [Track(PREFIX + track.name, track.steps, track.values) for track in self._tracks()]
        return (*found, _non_finite(found, self.history.marks))

    def totals(self) -> dict[str, float]:
        """Where it ended: reach, need and growth of every layer, the last gradient norm, what watching cost.

        need is 0 where the test found none, and left out where there was nothing to test; the gradient norm is left out
        where the first NaN came later: it is not looked at any more from there on
        """
        record = self.diagnosis.record
        several = {layer.module for layer in record.layers if layer.index > 0}
        found: dict[str, float] = {}
        for layer in record.layers:
            name, need = _called(layer, several), asked(layer)
            if layer.reach:
                found |= {f"reach/{name}": layer.reach.lag, f"growth/{name}": layer.reach.growth}
            if need:
                found[f"need/{name}"] = need.lag or 0
        norms = self.history.before
        if norms.steps and not (record.nonfinite and record.nonfinite.step > norms.steps[-1]):
            found["gradient_norm"] = norms.values[-1]
        found["overhead"] = record.overhead
        found[NON_FINITE] = self.courses()[-1].values[-1]
        return {PREFIX + name: float(value) for name, value in found.items()}

    def rows(self) -> Iterator[tuple[int, dict[str, float]]]:
        """(step, all scalars of that step) in the order of the run."""
        found: dict[int, dict[str, float]] = {}
        for track in self.courses():
            for step, value in zip(track.steps, track.values, strict=True):
                found.setdefault(step, {})[track.name] = value
        yield from sorted(found.items())

    def labels(self) -> dict[str, str]:
        """The verdict and the findings, as short texts to search for."""
        findings = ", ".join(f"{finding.code} {finding.name}" for finding in self.diagnosis.findings)
        return {PREFIX + "verdict": self.diagnosis.verdict, PREFIX + "findings": findings}

    def words(self) -> str:
        """The verdict, the findings and the events of the run, the first NaN among them: each in a line."""
        findings = [f"{finding.code} {finding.name}: {finding.summary}" for finding in self.diagnosis.findings]
        marks = [f"step {mark.step}: {mark.what}: {mark.text}" for mark in self.history.marks]
        return "\n".join([f"verdict: {self.diagnosis.verdict}", *findings, *marks])

    def reach(self) -> dict[str, ReachTrack]:
        """How the reach of each layer that the verdict speaks of came about, by its name."""
        judged = {_which(layer) for layer in self.diagnosis.record.layers}
        tracks = [track for track in self.history.reach if _which(track.layer) in judged]
        several = {track.layer.module for track in tracks if track.layer.index > 0}
        return {_called(track.layer, several): track for track in tracks}

    def _tracks(self) -> Iterator[Track]:
        course = self.history
        seen = {
            "loss": course.losses,
            "gradient_norm": course.before,
            "gradient_norm_used": _where(course.after, lambda value: not math.isnan(value)),  # NaN: not looked at
            "clip_limit": _where(course.limit, math.isfinite),  # infinite: no limit
        }
        yield from (Track(name, track.steps, track.values) for name, track in seen.items() if track.steps)
        for name, track in self.reach().items():
            yield Track(f"reach/{name}", track.steps, tuple(map(float, track.reach)))
            yield Track(f"growth/{name}", track.steps, _growth(track))
        for kind, tracks in (("update", course.updates), ("dead", course.dead), ("saturated", course.saturated)):
            yield from (Track(f"{kind}/{track.name}", track.steps, track.values) for track in tracks)


def _where(track: Track, holds: Callable[[float], bool]) -> Track:
    return Track.of(track.name, ((s, v) for s, v in zip(track.steps, track.values, strict=True) if holds(v)))


def _growth(track: ReachTrack) -> tuple[float, ...]:
    return tuple(growth_of(lags, gain) for lags, gain in zip(track.lags, track.log_gain, strict=True))


def _which(layer: "LayerKey | Layer") -> tuple[str, int, str, bool]:
    return layer.module, layer.index, layer.direction, layer.whole


def _called(layer: "LayerKey | Layer", several: set[str]) -> str:
    """rnn; of a stack rnn.0, rnn.1; backwards in time rnn.reverse."""
    index = f".{layer.index}" if layer.module in several else ""
    return named(layer.module) + index + (f".{layer.direction}" if layer.direction != "forward" else "")


def _non_finite(tracks: Sequence[Track], marks: Sequence[Mark]) -> Track:
    """How many had been met up to a step: at the first step, at every one where it rises, and at the last."""
    met = Counter(mark.step for mark in marks if mark.what == ODD)
    for track in tracks:
        met.update(step for step, value in zip(track.steps, track.values, strict=True) if not math.isfinite(value))
    ends = [step for track in tracks for step in (track.steps[:1] + track.steps[-1:])]
    steps = sorted({*met, min(ends, default=0), max(ends, default=0)})
    counts = itertools.accumulate(met[step] for step in steps)
    return Track(PREFIX + NON_FINITE, tuple(steps), tuple(map(float, counts)))
