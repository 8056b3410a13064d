"""LR402 wrong-gradient."""

import math

from longreach.diagnosis.finding import Finding, Severity
from longreach.diagnosis.learning import FALLEN, solved
from longreach.diagnosis.loss_trend import fall
from longreach.diagnosis.stacks import named
from longreach.diagnosis.wording import counted, percent
from longreach.quantities.crosscheck import Crosscheck
from longreach.record import Record

WRONG = 0.1  # relative error: a gradient that is off by less still points nearly where it should
DOUBTFUL = 0.02  # ten times what rounding in single precision leaves in a sum over many rows
GRAVE = 0.5  # from here on the gradient has more of something else in it than of the right one


def wrong_gradient(record: Record) -> tuple[Finding, ...]:
    """A gradient that is not the gradient of what was computed, or a value that is not what should have been computed.

    Looks at        autograd functions of the script's own: what their backward gave back in the run against finite
                    differences of their own forward; and modules: their output and gradient against the same module
                    in double precision
    Why it matters  training follows a direction that does not lead down; nothing else shows it, and no setting helps
    Threshold       a relative error of 10 %, the median over samples
    Severity        critical from 50 % on in a run whose loss did not fall by a fifth, else a warning; info from 2 % to
                    10 %, or in a run that is solved all the same
    Stays silent    where a function returns what it was given and so exists for its gradient alone (gradient reversal,
                    scaling). A function with steps or flat stretches that passes a gradient on there (as
                    straight-through estimators do) is told as info: whether that is meant, only its author knows
    Blind to        functions that are random, too large, or refuse to be called again; an error in an argument whose
                    gradient is None; a detach that was not meant
    Remedies        none: mend the function
    Papers          Baydin, Pearlmutter, Radul & Siskind 2018, section 2.1, on differences as a check
    """
    wrong: dict[tuple[str, str], Crosscheck] = {}
    for check in record.crosschecks:
        key = (check.place if check.against == "replay" else "", check.subject)
        if check.error >= DOUBTFUL and check.design != "identity":
            wrong[key] = max(wrong.get(key, check), check, key=lambda found: (not found.design, found.error))
    return tuple(_finding(check, record) for check in wrong.values())


def _finding(check: Crosscheck, record: Record) -> Finding:
    evidence = {
        "subject": check.subject,
        "part": check.part,
        "shape": check.shape,
        "dtype": check.dtype,
        "error": check.error,
        "ratio": check.ratio,
        "samples": check.samples,
    }
    where = named(check.place)
    return Finding("LR402", "wrong-gradient", _severity(check, record), where, _summary(check), evidence)


def _severity(check: Crosscheck, record: Record) -> Severity:
    if check.design or check.error < WRONG or solved(record):
        return "info"
    lost = fall(record.loss)
    return "critical" if check.error >= GRAVE and lost is not None and lost < FALLEN else "warning"


def _summary(check: Crosscheck) -> str:
    what = f"{check.part} ({check.shape}, {check.dtype})"
    seen = f"in {counted(check.samples, 'sampled step')}"
    if check.design:
        return (
            f"The backward of {check.subject} passes a gradient on to {what} where its forward does not react to it. "
            "That is how a straight-through estimator works; if none is meant, the backward is wrong."
        )
    if check.against == "differences":
        return (
            f"What the backward of {check.subject} returns for {what} is not the derivative of its forward: it is off "
            f"by {percent(check.error)} {seen}{_ratio(check.ratio)}. Mend the backward; torch.autograd.gradcheck shows "
            "it entry by entry."
        )
    thing = "output" if check.part == "output" else f"gradient for {check.part}"
    return (
        f"The {thing} of {check.subject} ({check.shape}, {check.dtype}) is off by {percent(check.error)} from the same "
        f"computation in double precision, {seen}: a faulty kernel, or arithmetic that loses its digits."
    )


def _ratio(ratio: float) -> str:
    """The kind of error, where one number tells it."""
    if not math.isfinite(ratio):
        return ""
    if abs(ratio + 1) < 0.02:
        return ", and its sign is reversed"
    return f", and {ratio:.2g} times as large along it" if abs(ratio - 1) > DOUBTFUL else ""
