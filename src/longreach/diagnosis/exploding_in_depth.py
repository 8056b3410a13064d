"""LR202 exploding-in-depth."""

import math
from itertools import pairwise

from longreach.diagnosis.exploding_in_time import broke, exploding_in_time
from longreach.diagnosis.finding import Finding, Severity
from longreach.diagnosis.learning import at_chance, course, left, struggles
from longreach.diagnosis.loss_trend import jump
from longreach.diagnosis.wording import counted, factor
from longreach.quantities.depth import Depth
from longreach.record import Record

GROWN, FAR = math.log(10), math.log(100)
HUGE = 10.0  # times chance
REMEDIES = ("scaled-init", "layer-norm", "batch-norm", "clip-norm")


def exploding_in_depth(record: Record) -> tuple[Finding, ...]:
    """A gradient grows from layer to layer of the network as it was initialised, and the run shows it.

    Looks at        gain over the depth of a network, or over the hops of a tree, at the first sampled step: later on a
                    large gain may be what a step too large has left
    Why it matters  the first steps move the lower layers by many times their size, and what was initialised with care
                    is gone
    Threshold       some layer gets more than 10 times a gradient, also when the layer that adds the most is not
                    counted: a small input in front of a normalisation makes one such layer, and does no harm
    Severity        critical if numbers became NaN or infinite, if the loss jumped to 10 times its level after the first
                    tenth of the run, if it ended at 10 times chance, or rose so high and ended at chance: what the
                    first steps threw away was not won back; a warning at a gain of 100 where most of the task is
                    left to learn
    Stays silent    where the run shows nothing of it; where what is not finite came in with the data; where the growth
                    is one in time (LR102), which every recurrent layer of a stack shows once more
    Blind to        weights that grow in training (LR501, LR503); what LR201 is blind to
    Remedies        a start that keeps a gradient's size, normalisation, and a limit on the gradient
    Papers          Glorot & Bengio 2010; Hanin & Rolnick 2018; Zhang, Dauphin & Ma 2019 (Fixup)
    """
    if exploding_in_time(record):
        return ()
    return tuple(finding for depth in record.depth if (finding := _judge(depth, record)))


def _judge(depth: Depth, record: Record) -> Finding | None:
    spread = without_the_largest(depth.at_start)
    share = left(record)
    hurt = broke(record) or jump(record.loss) is not None or (share is not None and share >= HUGE) or _lost(record)
    if spread < GROWN or not (hurt or (spread >= FAR and struggles(record))):
        return None
    severity: Severity = "critical" if hurt else "warning"
    peak = max(depth.at_start)
    layer = depth.at_start.index(peak)
    units = "hop" if depth.axis == "hops" else "layer"
    top = "the root" if depth.axis == "hops" else depth.layers[0]
    ended = "In this run numbers became NaN or infinite." if broke(record) else course(record)
    summary = (
        f"At the start of the run a gradient at {top} grows to {factor(peak)} times its size on its way down "
        f"{counted(layer, units)}: a step throws the lower weights far away. {ended}"
    )
    evidence = {
        "log_gain": peak,
        "at": depth.layers[layer],
        units + "s": layer,
        "jump": jump(record.loss),
        "loss_over_chance": share,
        "samples": depth.samples,
    }
    return Finding("LR202", "exploding-in-depth", severity, depth.module, summary, evidence, REMEDIES)


def _lost(record: Record) -> bool:
    """Whether the loss was once ten times that of the best constant answer, and came down to that and no further."""
    if record.loss is None or record.chance is None or not at_chance(record):
        return False
    return max(record.loss.values) >= HUGE * record.chance


def without_the_largest(log_gain: tuple[float, ...]) -> float:
    """ln of the largest gain, without the one layer that adds the most to it."""
    if not log_gain:
        return 0.0
    way = log_gain[: log_gain.index(max(log_gain)) + 1]
    steps = [low - high for high, low in pairwise(way)]
    return sum(steps) - max(steps, default=0.0)
