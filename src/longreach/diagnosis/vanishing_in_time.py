"""LR101 vanishing-in-time."""

from longreach.diagnosis.finding import Finding, Severity
from longreach.diagnosis.learning import FALLEN, MOST, left, solved
from longreach.diagnosis.loss_trend import fall
from longreach.diagnosis.stacks import Stack, stacks
from longreach.diagnosis.wording import counted, percent
from longreach.record import Reach, Record

REMEDIES = {
    "LSTM": ("forget-bias", "linear-recurrent", "skip", "dilated"),
    "GRU": ("forget-bias", "linear-recurrent", "orthogonal-init", "lstm", "skip", "dilated"),
}
OTHERWISE = ("identity-init", "orthogonal-init", "linear-recurrent", "lstm", "gru", "skip", "leaky-integration")
WHOLE = ("dilated", "skip", "linear-recurrent")


def vanishing_in_time(record: Record) -> tuple[Finding, ...]:
    """The data ask for more lag than the gradient covers.

    Looks at        reach and need, both in steps; of a stack of layers the largest reach, because an error on its way
                    down may go back in time in any of them; of a whole model both as they are
    Why it matters  the weights never hear that the far input mattered; training for longer does not change that
    Threshold       need > reach. Each carries its own: reach the gain at which it ends, need the level of its test.
                    A warning instead of critical where the loss falls all the same, by a fifth from the first
                    quarter of the run to the last: most of the task may lie within reach; and where the other direction
                    of the module has a need within its own reach: the same input may be learned from that side. Info
                    where the loss is known to be less than half of that of the best constant answer
    Stays silent    where nothing is needed beyond reach: there a short reach does no harm; where the gradient did not
                    fade within the horizon; where the loss fell to 5 % of chance: the small error of a solved task
                    may still depend on far inputs, with nothing to gain; where a layer's reach could not be measured;
                    where the whole model reaches as far as the layer's data need, by a way round the layer
    Blind to        dependencies that show only when two far inputs are read together, unless the deep test looked for
                    them (`--deep`), and those of three; a start so bad that learning the mean of the targets looks like
                    solving the task
    Remedies        by the kind of the layer: a start that keeps the gradient's size, gates, shorter ways back in time
    Papers          Hochreiter 1991; Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio 2013
    """
    if solved(record):
        return ()
    everything = stacks(record)
    return tuple(finding for stack in everything if (finding := _judge(stack, everything, record)))


def beyond_reach(stack: Stack) -> bool:
    """Whether the need of a stack lies beyond where its gradient fades."""
    need, carrier = stack.need, stack.carrier
    if carrier is None or carrier.reach is None or need is None or need.lag is None:
        return False
    return carrier.reach.lag < min(need.lag, carrier.reach.horizon)


def _judge(stack: Stack, everything: tuple[Stack, ...], record: Record) -> Finding | None:
    need, carrier = stack.need, stack.carrier
    if not beyond_reach(stack) or carrier is None or carrier.reach is None or need is None or need.lag is None:
        return None
    if not stack.whole and any(other.whole and _covers(other, need.lag) for other in everything):
        return None
    reach = carrier.reach
    covered = any(_hears(other) for other in everything if other.module == stack.module and other != stack)
    fallen = fall(record.loss) or 0.0
    severity: Severity = "warning" if covered or fallen >= FALLEN else "critical"
    share = left(record)
    if share is not None and share <= MOST:
        severity = "info"
    summary = (
        f"The error still depends on the input {counted(need.lag, 'step')} back{_together(stack)}, which the network "
        f"has not learned to use. {_fading(stack, reach)}: the weights hardly hear of that input, however long they "
        "train."
    )
    if fallen >= FALLEN:
        summary += f" What lies within reach is being learned: the loss fell by {percent(fallen)}."
    if share is not None and share <= MOST:
        summary += f" Most is learned all the same: the loss is {percent(share)} of that of the best constant answer."
    if covered:
        summary += " The module also reads the sequence from the other side, which may learn it instead."
    evidence = {
        "layer": carrier.index,
        "reach": reach.lag,
        "threshold": reach.threshold,
        "growth": reach.growth,
        "need": need.lag,
        "p_value": need.p_value,
        "horizon": reach.horizon,
    }
    if stack.partner is not None:
        evidence["partner"] = stack.partner
    remedies = WHOLE if stack.whole else REMEDIES.get(carrier.kind, OTHERWISE)
    return Finding("LR101", "vanishing-in-time", severity, stack.name, summary, evidence, remedies)


def _fading(stack: Stack, reach: Reach) -> str:
    share, steps = percent(reach.threshold), counted(reach.lag, "step")
    if stack.whole:
        return f"All inputs more than {steps} back have less than {share} of the influence on an output"
    return f"Of a gradient sent back, {share} is left after {steps} and ever less beyond"


def _together(stack: Stack) -> str:
    return "" if stack.partner is None else f", read together with the one {counted(stack.partner, 'step')} back"


def _hears(stack: Stack) -> bool:
    """Whether a stack has a need that lies within its reach."""
    return stack.need is not None and stack.need.lag is not None and _covers(stack, stack.need.lag)


def _covers(stack: Stack, lag: int) -> bool:
    """Whether a gradient gets so far back in a stack."""
    return stack.carrier is not None and stack.carrier.reach is not None and lag <= stack.carrier.reach.lag
