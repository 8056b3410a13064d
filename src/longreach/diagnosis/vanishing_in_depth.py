"""LR201 vanishing-in-depth."""

import math
from itertools import pairwise

from longreach.diagnosis.finding import Finding, Severity
from longreach.diagnosis.learning import course, struggles, stuck
from longreach.diagnosis.wording import counted, factor
from longreach.quantities.depth import Depth
from longreach.quantities.updates import middle
from longreach.record import Record

LEFT = math.log(1e-3)  # of a gradient, at the lowest layer
STARVED = 1e-3  # of what a step does to the highest layer's weights
DROPPED = 0.5  # of the loss, since the very first: where chance is not known, so much is taken for learning
REMEDIES = {
    "layers": ("residual", "layer-norm", "batch-norm", "scaled-init", "relu", "layerwise-pretraining"),
    "hops": ("lstm", "residual", "layer-norm", "orthogonal-init"),
}


def vanishing_in_depth(record: Record) -> tuple[Finding, ...]:
    """A gradient fades from layer to layer, and the run learns next to nothing.

    Looks at        gain over the depth of a network, or over the hops of a tree; how far a step moves the weights of
                    the lowest layer and of the highest; the loss beside chance
    Why it matters  the lower layers stay as they were initialised, and hand on noise to those above
    Threshold       less than a thousandth of a gradient is left at the lowest layer, and no single layer takes more
                    than half of what is lost, in logarithms: one that lets nothing pass is a matter of its units
                    (LR301, LR302) or weights (LR303). A thousandth is where AutoTrainer (2021) draws the line between
                    the gradients of the first layer's weights and the last's
    Severity        critical if the run has learned next to nothing; a warning if most is left to learn, and the weights
                    of the lowest layer move, relative to their size, a thousand times less than those of the highest
    Stays silent    where the run learns: deep networks begin to train at gains as low as that, and mend them on the way
    Blind to        networks with no trunk: where every layer has a way of its own to the loss; what torch.compile has
                    compiled, checkpointed blocks and functions with a hand-written backward
    Remedies        ways around the layers first, then normalisation, another activation, another start
    Papers          Glorot & Bengio 2010; He, Zhang, Ren & Sun 2016; Zhang et al. 2021 (AutoTrainer)
    """
    if not struggles(record) or _dropped(record):
        return ()
    return tuple(finding for depth in record.depth if (finding := _judge(depth, record)))


def _judge(depth: Depth, record: Record) -> Finding | None:
    if not fades(depth):
        return None
    moved = [ratio_of(depth.layers[at], record) for at in (0, -1)]
    starved = moved[1] < STARVED * moved[0]
    if not stuck(record) and not starved:
        return None
    severity: Severity = "critical" if stuck(record) else "warning"
    log_gain = depth.log_gain[-1]
    ends = ("at the root", "the leaves") if depth.axis == "hops" else (f"at {depth.layers[0]}", depth.layers[-1])
    units = "hop" if depth.axis == "hops" else "layer"
    summary = (
        f"Of a gradient {ends[0]}, {factor(log_gain)} of its size is left at {ends[1]}, "
        f"{counted(depth.steps, units)} below: what lies there hardly hears of the error. "
    )
    if starved:
        there = f"by {moved[1]:.1e} of their size" if moved[1] else "not at all"
        summary += f"A step moves the weights there {there}, those at the top by {moved[0]:.1e}. "
    evidence = {
        "log_gain": log_gain,
        "growth": depth.growth,
        units + "s": depth.steps,
        "lowest_update": moved[1],
        "highest_update": moved[0],
        "samples": depth.samples,
    }
    summary += course(record)
    return Finding("LR201", "vanishing-in-depth", severity, depth.module, summary, evidence, REMEDIES[depth.axis])


def fades(depth: Depth) -> bool:
    """Whether less than a thousandth of a gradient is left, and more than one layer has taken it."""
    hops = [low - high for high, low in pairwise(depth.log_gain)]
    return all(map(math.isfinite, hops)) and sum(hops) <= LEFT and 2 * min(hops) >= sum(hops)


def ratio_of(layer: str, record: Record) -> float:
    """How far a step moves the weights of a layer, against their size; NaN where it was not seen."""
    return middle(
        [
            found.ratio
            for found in record.updates
            if found.module == layer or found.module.startswith(layer + ".") or found.parameter == layer
        ]
    )


def _dropped(record: Record) -> bool:
    """Whether a loss whose chance level is not known has come down from where it began."""
    if record.chance is not None or record.loss is None:
        return False
    values = record.loss.values
    return len(values) > 1 and 0 <= values[-1] < (1 - DROPPED) * values[0]
