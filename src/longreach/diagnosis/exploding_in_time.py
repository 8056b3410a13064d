"""LR102 exploding-in-time."""

import math

from longreach.diagnosis.finding import Finding, Severity
from longreach.diagnosis.loss_trend import jump
from longreach.diagnosis.stacks import Stack, stacks
from longreach.diagnosis.wording import counted, factor
from longreach.record import Layer, Reach, Record

REMEDIES = ("clip-norm", "clip-state-gradient", "orthogonal-init", "truncated-bptt")


def exploding_in_time(record: Record) -> tuple[Finding, ...]:
    """A gradient sent back through time grows without end.

    Looks at        the gain curve of every layer, and growth, its slope in nats per step
    Why it matters  one batch can move the weights so far that all that was learned is lost
    Threshold       gain above 1 / threshold (100 by default) at some lag, and growth > 0. The mirror of where reach
                    ends. Both are asked for: a gain of 3 at lag 20 that dies down again is how networks without
                    normal weight matrices behave, and harmless. A gain too large for any float counts as above
    Severity        critical if the run shows it: a NaN or an infinity, or a loss that jumped to 10 times its level
                    after the first tenth of the run; otherwise a warning
    Stays silent    where the gain is large for a while and then falls (growth <= 0); where nothing could be measured
    Blind to        an explosion on the other side of the anchors sampled: rare batches, a wall in the loss
    Remedies        limits on the gradient first, then a start that keeps its size
    Papers          Pascanu, Mikolov & Bengio 2013; Mikhaeil, Monfared & Durstewitz 2022
    """
    return tuple(finding for stack in stacks(record) if (finding := _judge(stack, record)))


def _judge(stack: Stack, record: Record) -> Finding | None:
    layers = [layer for layer in stack.layers if layer.reach and _explodes(layer.reach)]
    if not layers:
        return None
    worst = max(layers, key=lambda layer: _peak(layer.reach)[1])
    return _finding(stack, worst, record)


def _finding(stack: Stack, layer: Layer, record: Record) -> Finding:
    assert layer.reach is not None
    lag, log_gain = _peak(layer.reach)
    jumped, broken = jump(record.loss), broke(record)
    severity: Severity = "critical" if broken or jumped is not None else "warning"
    summary = (
        f"A gradient sent back {counted(lag, 'step')} grows to {factor(log_gain)} times its size: a single batch can "
        "throw the weights far away."
    )
    if broken:
        summary += " In this run numbers became NaN or infinite."
    elif jumped is not None:
        summary += f" In this run the loss jumped to {jumped:.3g} times its level."
    evidence = {
        "layer": layer.index,
        "lag": lag,
        "log_gain": log_gain,
        "growth": layer.reach.growth,
        "jump": jumped,
        "horizon": layer.reach.horizon,
    }
    return Finding("LR102", "exploding-in-time", severity, stack.name, summary, evidence, REMEDIES)


def broke(record: Record) -> bool:
    """Whether the run met a NaN or an infinity that did not come in with the data."""
    if record.nonfinite is not None:
        return record.nonfinite.cause != "data"
    return record.loss is not None and not all(math.isfinite(value) for value in record.loss.values)


def _explodes(reach: Reach) -> bool:
    threshold = reach.threshold if 0 < reach.threshold < 1 else 0.01
    log_gain = _peak(reach)[1]
    growing = reach.growth > 0 or (log_gain == math.inf and math.isnan(reach.growth))
    return growing and log_gain >= -math.log(threshold)


def _peak(reach: Reach | None) -> tuple[int, float]:
    """Lag and logarithm of the largest gain; NaN is nowhere a peak."""
    pairs = zip(reach.lags, reach.log_gain, strict=False) if reach else ()
    return max((pair for pair in pairs if not math.isnan(pair[1])), key=lambda pair: pair[1], default=(0, -math.inf))
