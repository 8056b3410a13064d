"""LR401 non-finite."""

import math

from longreach.diagnosis.finding import Finding
from longreach.diagnosis.stacks import named
from longreach.record import NonFinite, Record

VALUES = {"nan": "NaN", "inf": "infinity"}
# Operations that have places where they, or their slopes, have no finite value: no limit on sizes helps there.
PLACES = frozenset(
    {
        "log",
        "log2",
        "log10",
        "log1p",
        "sqrt",
        "rsqrt",
        "division",
        "pow",
        "norm",
        "std",
        "acos",
        "asin",
        "acosh",
        "atanh",
    }
    | {"softmax", "log_softmax"}
)
REMEDIES = {
    ("overflow", "forward"): ("clip-norm", "clip-auto", "guard", "layer-norm"),
    ("overflow", "backward"): ("clip-state-gradient", "truncated-bptt", "orthogonal-init"),
    ("weights", "forward"): ("clip-norm", "clip-auto"),
    ("weights", "backward"): ("clip-norm", "clip-auto"),
}


def non_finite(record: Record) -> tuple[Finding, ...]:
    """A number of the run was NaN or infinite.

    Looks at        the first NaN or infinity of the run: cause, pass, module, operation, training step, time step
    Why it matters  everything computed from it is lost, and one update spreads it to every weight
    Threshold       one such number: there is no harmless count. Loss curves that hold one, with no first place known,
                    count too
    Stays silent    where all numbers were finite
    Blind to        infinities that are meant (a mask of -inf before a softmax) and never reach a loss
    Remedies        by cause. Data: none, the data must be cleaned. A logarithm of 0, a root whose slope is infinite:
                    none, the operation must be kept away from there. Overflow on the way forward: smaller updates and
                    normalised states. Overflow on the way back: limits on the gradient inside the pass; clipping its
                    norm comes too late, for the norm is infinite. Weights: limits on the update that broke them
    Papers          Pascanu, Mikolov & Bengio 2013, section 3.2
    """
    first = record.nonfinite
    if first is not None:
        return (_finding(first),)
    if record.loss and not all(math.isfinite(value) for value in record.loss.values):
        return (_unplaced(record),)
    return ()


def _finding(first: NonFinite) -> Finding:
    evidence = {
        "step": first.step,
        "direction": first.direction,
        "cause": first.cause,
        "operation": first.operation,
        "time_step": first.time_step,
        "value": VALUES.get(first.value, first.value),
    }
    born_so = first.cause == "weights" and first.step == 0
    remedies = () if born_so or first.operation in PLACES else REMEDIES.get((first.cause, first.direction), ())
    where = "model" if first.module is None else named(first.module)
    return Finding("LR401", "non-finite", "critical", where, f"{_place(first)} {_cause(first)}", evidence, remedies)


def _place(first: NonFinite) -> str:
    """Where the number appeared, in one sentence."""
    value = VALUES.get(first.value, first.value)
    way = "way back" if first.direction == "backward" else "way forward"
    parts = [f"The first {value} appeared at training step {first.step}, on the {way}"]
    if first.time_step is not None:
        parts.append(f"at time step {first.time_step}")
    if first.operation is not None:
        parts.append(f"in {first.operation}")
    return ", ".join(parts) + "."


def _cause(first: NonFinite) -> str:
    """What that means, in one sentence."""
    if first.cause == "data":
        return "It came in with the data: the network is not at fault. Find and mend the inputs that hold it."
    if first.cause == "overflow" and first.operation in PLACES:
        what = "slope" if first.direction == "backward" else "value"
        return (
            f"All inputs and weights were finite: the operation has no finite {what} for what it was given. Keep its "
            "input away from there, with a clamp or a small constant added."
        )
    if first.cause == "overflow" and first.direction == "backward":
        return "All inputs and weights were finite: the gradient grew too large on its way back."
    if first.cause == "overflow":
        return "All inputs and weights were finite: the numbers grew too large inside the network."
    if first.cause == "weights" and first.step == 0:
        return "The weights were broken before the first step: look at how they are initialised or loaded."
    if first.cause == "weights":
        return "The weights were broken when the step began: an update before it was too large."
    return "Where it came from could not be told."


def _unplaced(record: Record) -> Finding:
    assert record.loss is not None
    pairs = zip(record.loss.steps, record.loss.values, strict=False)
    step = next((step for step, value in pairs if not math.isfinite(value)), None)
    summary = "The loss became NaN or infinite. Where it came from could not be told."
    evidence = {"step": step, "cause": "unknown"}
    return Finding("LR401", "non-finite", "critical", "loss", summary, evidence)
