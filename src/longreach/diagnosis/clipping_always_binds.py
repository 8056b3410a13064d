"""LR504 clipping-always-binds."""

import math

from longreach.diagnosis.finding import Finding, Severity
from longreach.diagnosis.learning import MOST, course, left, struggles, stuck
from longreach.diagnosis.wording import percent
from longreach.quantities.clipping import VALUE, Clipping
from longreach.record import Record

NEARLY_ALWAYS = 0.9  # of the steps
MUCH = 10.0  # times too large for the limit
STILL = 0.5  # of its own size: no matrix of weights has come further in the whole run
# Optimizers whose step is as large as the gradient; the others divide a constant factor out again.
PLAIN = ("SGD", "ASGD", "LBFGS")


def clipping_always_binds(record: Record) -> tuple[Finding, ...]:
    """The limit on the gradient has become the size of every step.

    Looks at        how often clipping makes the gradient smaller, beyond the first tenth of the run, and how many times
                    smaller; how far the weights have come
    Why it matters  clipping is there for the rare gradient that is too large. Where it always binds, the learning rate
                    times the limit is the step, whatever the gradient says: small and large gradients count alike
    Threshold       nine steps in ten, and a gradient that is ten times the limit (geometric mean): limits of half to
                    ten times the usual norm are known to serve
    Severity        where the steps are as large as the gradient (SGD), the weights have come no further than half their
                    own size, and most is left to learn: critical if the run has learned next to nothing, else a
                    warning. Otherwise info
    Stays silent    where clipping binds less often, or cuts off less; where it was not seen; where the loss is known to
                    be less than half of that of the best constant answer
    Blind to        a limit so small that Adam's own constant (eps) comes into play; per-parameter limits of one's own
    Remedies        a limit at the size of usual gradients, or one that follows them (clip-auto)
    Papers          Pascanu, Mikolov & Bengio 2013; Seetharaman et al. 2020, AutoClip; Zhang et al. 2020, Why gradient
                    clipping accelerates training
    """
    clipping, share = record.clipping, left(record)
    if share is not None and share <= MOST:
        return ()
    if clipping is None or clipping.bound < NEARLY_ALWAYS or clipping.factor < MUCH:
        return ()
    return (_finding(clipping, _severity(record), record),)


def _severity(record: Record) -> Severity:
    plain = any(found.optimizer in PLAIN for found in record.updates)
    way = max((found.moved for found in record.updates if not math.isnan(found.moved)), default=math.inf)
    if plain and way < STILL and struggles(record):
        return "critical" if stuck(record) else "warning"
    return "info"


def _finding(clipping: Clipping, severity: Severity, record: Record) -> Finding:
    what = "a largest entry" if clipping.by == VALUE else "a norm"
    summary = (
        f"Clipping to {what} of {clipping.limit:.3g} binds at {percent(clipping.bound)} of the steps, and makes the "
        f"gradient {clipping.factor:.3g} times smaller: the limit, not the gradient, sets the size of the steps. "
    )
    if severity != "info":
        summary += course(record)
    elif any(found.optimizer not in PLAIN for found in record.updates):
        summary += "The optimizer divides a constant factor out again, so that this costs little."
    evidence = {
        "by": clipping.by,
        "limit": clipping.limit,
        "share": clipping.bound,
        "factor": clipping.factor,
        "norm_before": clipping.limit * clipping.factor if clipping.by != VALUE else None,
        "calls": clipping.calls,
    }
    return Finding("LR504", "clipping-always-binds", severity, "model", summary, evidence, ("clip-auto",))
