"""LR103 short-reach-harmless."""

from longreach.diagnosis.finding import Finding
from longreach.diagnosis.no_signal import no_signal
from longreach.diagnosis.stacks import Stack, named, stacks, useful
from longreach.diagnosis.vanishing_in_time import beyond_reach
from longreach.diagnosis.wording import counted, percent
from longreach.record import Need, Record


def short_reach_harmless(record: Record) -> tuple[Finding, ...]:
    """The gradient fades within the sequence, and nothing is lost by it.

    Looks at        reach, horizon and need, all in steps
    Why it matters  a gradient of 1e-16 at the first step looks like a fault, and all published tools call it one; where
                    the data do not ask for that step, treating it costs time and may cost accuracy
    Threshold       reach < horizon, and need <= reach or none, in a test that would have found a quarter of the
                    error's variance (detectable <= 0.25): silence of a weaker test proves nothing
    Stays silent    where need was not tested; where it lies beyond reach now, in any direction of the module (LR101),
                    or did at the start of the run; where no lag carries anything (LR601)
    Blind to        effects below the smallest one that the test would have found, which is always printed; two far
                    inputs that count only together, unless the deep test looked for them (`--deep`)
    Remedies        none needed
    Papers          Pascanu, Mikolov & Bengio 2013, section 2, for what a fading gradient alone does not say
    """
    everything = stacks(record)
    taken = {finding.where for finding in no_signal(record)}
    taken |= {named(stack.module) for stack in everything if beyond_reach(stack)}
    free = (stack for stack in everything if named(stack.module) not in taken)
    return tuple(finding for stack in free if (finding := _judge(stack)))


def _judge(stack: Stack) -> Finding | None:
    need, carrier = stack.need, stack.carrier
    if carrier is None or carrier.reach is None or need is None or not useful(need):
        return None
    reach = carrier.reach
    if reach.lag >= reach.horizon or _asks_beyond(need, reach.lag) or _asks_beyond(stack.need_start, reach.lag):
        return None
    what = "The output hangs on inputs up to" if stack.whole else "A gradient survives"
    summary = (
        f"{what} {counted(reach.lag, 'step')} of {reach.horizon} here, and that does no harm: nothing "
        f"further back was found to matter. Any input further back that explains {percent(need.detectable)} of the "
        "error or more would most likely have been found."
    )
    evidence = {
        "layer": carrier.index,
        "reach": reach.lag,
        "threshold": reach.threshold,
        "need": need.lag,
        "detectable": need.detectable,
        "horizon": reach.horizon,
    }
    return Finding("LR103", "short-reach-harmless", "info", stack.name, summary, evidence)


def _asks_beyond(need: Need | None, reach: int) -> bool:
    return need is not None and need.lag is not None and need.lag > reach
