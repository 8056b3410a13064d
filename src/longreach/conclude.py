"""From a store to a Record: what the sampled steps say together. No torch: it runs wherever the run folder lies."""

from collections.abc import Sequence

import numpy as np

from longreach.probes import reach, tails
from longreach.probes.need import shortcut_test
from longreach.probes.samples import Curve, LayerKey, Pairs
from longreach.quantities import (
    chance,
    clipping,
    crosscheck,
    deep,
    depth,
    gradients,
    inputs,
    precision,
    restless,
    spikes,
    units,
    updates,
    weights,
    windows,
)
from longreach.record import Layer, LossCurve, Need, Record
from longreach.store import Store

# An untrained network's errors show what the data offer; so many sequences give the test its power.
START_SEQUENCES = 512
# What is still missing is read from the second half of the run, or from a little more where that holds few sequences.
FEWEST_LATE_SEQUENCES = 384
LOSS_POINTS = 512
# The level at which a need is believed that the first sequences of the run did not show.
ALONE = 0.001


def conclude(store: Store) -> Record:
    """Pool the curves, run the need tests, and put everything into one frozen record.

    Cost: the need tests, at most about two seconds for each recurrent module and direction.
    """
    meta = store.meta()
    curves = without_echoes(store.curves())
    needs = {at: _needs(store.pairs(*at), meta.get("steps", 0)) for at in {(k.module, k.direction) for k in curves}}
    deepened = deep.latest(store.samples(deep.Deepened))
    layers = tuple(
        _layer(key, found, *needs[key.module, key.direction], deepened.get((key.module, key.direction)))
        for key, found in curves.items()
    )
    seconds, spent = float(meta.get("seconds", 0.0)), float(meta.get("spent", 0.0))
    steps = int(meta.get("steps", 0))
    norms = gradients.pool(store.samples(gradients.GradientNorm).get("", []))
    own = ("steps", "seconds", "spent")
    return Record(
        run={key: value for key, value in meta.items() if key not in own},
        steps=steps,
        seconds=seconds,
        overhead=spent / seconds if seconds > 0 else 0.0,
        layers=layers,
        loss=_loss(store.losses()),
        nonfinite=store.nonfinite(),
        notes=tuple(store.notes()),
        depth=depth.pool(store.samples(depth.DepthSample)),
        crosschecks=crosscheck.pool(store.samples(crosscheck.Check)),
        windows=windows.pool(store.samples(windows.Window)),
        updates=updates.pool(store.samples(updates.Update), steps),
        gradients=norms,
        clipping=clipping.pool(store.samples(clipping.Clip), norms, steps),
        restless=restless.pool(store.losses(), steps),
        spikes=spikes.pool(store.samples(spikes.Spike).get("", []), curves),
        half=precision.pool(store.samples(precision.HalfGradient)),
        loss_scale=precision.loss_scale(store.samples(precision.Scaling).get("", [])),
        units=units.pool(store.samples(units.UnitsSample)),
        weights=weights.pool(store.samples(weights.WeightSample)),
        inputs=inputs.pool(store.samples(inputs.InputSample)),
        chance=chance.pool(store.samples(chance.ChanceSample)),
    )


def _layer(
    key: LayerKey, curves: list[Curve], need: Need | None, at_start: Need | None, deepened: deep.Deepened | None
) -> Layer:
    late = late_curves(curves)
    return Layer(
        module=key.module,
        kind=key.kind,
        index=key.index,
        direction=key.direction,
        hidden=key.hidden,
        reach=reach.pool(late),
        need=need,
        need_start=at_start,
        denormals=reach.denormals(late),
        blind=None
        if need is not None
        else "need could not be tested: no finite error arrived, or its inputs were not seen or never changed",
        deep=deepened.deep if deepened else None,
        memory=deepened.memory if deepened else None,
        whole=key.whole,
    )


def without_echoes(curves: dict[LayerKey, list[Curve]]) -> dict[LayerKey, list[Curve]]:
    """Without whole models that reach hardly farther than their own recurrent layers: they would say the same twice."""
    lags: dict[str, int] = {}
    for key, found in curves.items():
        if not key.whole and (pooled := reach.pool(late_curves(found))):
            lags[key.direction] = max(lags.get(key.direction, 0), pooled.lag)

    def is_echo(key: LayerKey, found: list[Curve]) -> bool:
        pooled = reach.pool(late_curves(found)) if key.whole and key.direction in lags else None
        return pooled is not None and pooled.lag <= tails.FARTHER * lags[key.direction]

    return {key: found for key, found in curves.items() if not is_echo(key, found)}


def late_curves(curves: list[Curve]) -> list[Curve]:
    """The finite curves of the second half of the run, at least the last one."""
    finite = [curve for curve in curves if not np.isnan(curve.log_gain).any()]
    late = [curve for curve in finite if 2 * curve.step >= finite[-1].step]
    return late or finite[-1:]


def _needs(pairs: Sequence[Pairs], steps: int) -> tuple[Need | None, Need | None]:
    start: list[Pairs] = []
    for sample in pairs:
        if _sequences(start) < START_SEQUENCES:
            start.append(sample)
    late = late_pairs(pairs, steps)
    need, at_start = _tested(late), _tested(start)
    if need is not None and need.lag is not None and (at_start is None or at_start.lag is None):
        # an untrained network's errors showed nothing of it: of all runs on noise one in a hundred comes this far
        need = shortcut_test(late, level=ALONE, draws=round(1 / ALONE) - 1)
    return need, at_start


def late_pairs(pairs: Sequence[Pairs], steps: int) -> list[Pairs]:
    """Those of the second half of the run, or a little more."""
    late: list[Pairs] = []
    for sample in reversed(pairs):
        if 2 * sample.step >= steps or _sequences(late) < FEWEST_LATE_SEQUENCES:
            late.append(sample)
    return late[::-1]


def _tested(pairs: Sequence[Pairs]) -> Need | None:
    return shortcut_test(pairs) if pairs else None


def _sequences(pairs: Sequence[Pairs]) -> int:
    return sum(len(sample.lengths) for sample in pairs)


def _loss(losses: list[tuple[int, float]]) -> LossCurve | None:
    if not losses:
        return None
    stretch = -(-len(losses) // LOSS_POINTS)
    parts = [losses[start : start + stretch] for start in range(0, len(losses), stretch)]
    values = (float(np.mean([value for _, value in part])) for part in parts)
    return LossCurve(tuple(part[0][0] for part in parts), tuple(values))
