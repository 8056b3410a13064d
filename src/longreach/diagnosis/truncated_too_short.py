"""LR104 truncated-too-short."""

import math

from longreach.diagnosis.finding import Finding, Severity
from longreach.diagnosis.learning import FALLEN, solved
from longreach.diagnosis.loss_trend import fall
from longreach.diagnosis.stacks import Stack, stacks
from longreach.diagnosis.wording import counted, percent
from longreach.quantities.windows import Windows
from longreach.record import Record

NOTICEABLE = 0.02  # of the error's variance: less would hardly show in the loss
SPARE = 1.25  # in a window that just holds a dependency, one step alone would hear of it


def truncated_too_short(record: Record) -> tuple[Finding, ...]:
    """The data ask for more lag than the windows of truncated backpropagation hold.

    Looks at        the length of the windows of a stream whose state is carried over and whose gradient is cut between
                    them, and need, tested across the cuts
    Why it matters  the state could remember, but no gradient ever tells it to: none passes a cut
    Threshold       need >= window, in steps, and at least 2 % of the error's variance explained by what lies that far
                    back. A warning instead of critical where the loss falls all the same, by a fifth from the first
                    quarter of the run to the last
    Stays silent    where windows are longer than all that was found to matter; in a run that is solved; where no state
                    is carried over
    Blind to        a long series that was cut into windows without carrying the state, or shuffled: what lies before a
                    window is then not part of what is recorded; a need beyond eight windows or 1024 steps
    Remedies        a longer window; the summary says which one would do: the power of two that holds the dependency and
                    a quarter more, so that more than its last step hears of it. Or gradients that go back further than
                    the window
    Papers          Williams & Peng 1990; Tallec & Ollivier 2017, arXiv 1705.08209, on what truncation loses
    """
    if solved(record):
        return ()
    fallen = fall(record.loss) or 0.0
    return tuple(finding for stack in stacks(record) if (finding := _judge(stack, record, fallen)))


def beyond_window(stack: Stack, record: Record) -> Windows | None:
    """The windows of a stack, if its need does not fit into one of them."""
    need = stack.need
    window = next((found for found in record.windows if found.module == stack.module), None)
    if window is None or need is None or need.lag is None or stack.direction != "forward":
        return None
    return window if need.lag >= window.length and _strength(stack, window) >= NOTICEABLE else None


def _strength(stack: Stack, window: Windows) -> float:
    """How much of the error what lies beyond the window explains."""
    need = stack.need
    pairs = zip(need.lags, need.strength, strict=False) if need else ()
    return max((share for lag, share in pairs if lag >= window.length), default=0.0)


def _judge(stack: Stack, record: Record, fallen: float) -> Finding | None:
    window, need = beyond_window(stack, record), stack.need
    if window is None or need is None or need.lag is None:
        return None
    severity: Severity = "warning" if fallen >= FALLEN else "critical"
    enough = 2 ** math.ceil(math.log2(SPARE * (need.lag + 1)))
    share = _strength(stack, window)
    summary = (
        f"The error still depends on the input {counted(need.lag, 'step')} back, and gradients are cut every "
        f"{counted(window.length, 'step')}: no weight ever hears of it, though the state is carried on. A window of "
        f"{enough} steps would do."
    )
    if fallen >= FALLEN:
        summary += f" What lies within the window is being learned: the loss fell by {percent(fallen)}."
    evidence = {
        "window": window.length,
        "need": need.lag,
        "p_value": need.p_value,
        "strength": share,
        "would_do": enough,
        "seen": window.seen,
    }
    return Finding("LR104", "truncated-too-short", severity, stack.name, summary, evidence, ("truncated-bptt",))
