"""LR404 precision-loss."""

import math
from collections.abc import Sequence

from longreach.diagnosis.finding import Finding, Severity
from longreach.diagnosis.learning import course, left, struggles, stuck
from longreach.diagnosis.stacks import named
from longreach.diagnosis.wording import counted, percent
from longreach.quantities.precision import HalfGradients, LossScale
from longreach.quantities.updates import Updates
from longreach.record import Record

HALF = 0.5  # of the entries
SKIPPED = 0.5  # of the steps, once the scale had time to be found
TOP, ROOM = 65504.0, 16.0  # the largest number of float16; how far below it the largest gradient should stay
USUAL = 65536.0  # where torch's loss scaler begins
UNFINISHED = 0.2  # of chance
NARROW = ("float16", "bfloat16")

Entry = tuple[str, str, dict[str, float | int | str | None]]  # where, summary, evidence


def precision_loss(record: Record) -> tuple[Finding, ...]:
    """Numbers of 16 bits lose what the training is made of.

    Looks at        gradients at float16 outputs: entries that are 0 and would not be, were the loss multiplied by
                    65536; weights kept in 16 bits: entries with a gradient that a step leaves exactly as they were;
                    steps that a loss scaler leaves out because a gradient has overflowed
    Why it matters  a gradient below 6e-8 is 0 in float16, and a weight in bfloat16 does not notice a change of less
                    than 0.2%: what is lost in each step is lost in all of them
    Threshold       half of the entries, or half of the steps: half of the information, and far more than in runs that
                    keep to the usual recipes, where it is a few percent
    Severity        critical if the run has learned next to nothing, a warning if most is left to learn; otherwise
                    info. Of weights in 16 bits a warning if a fifth is left to learn: there it is the last part that
                    asks for small steps
    Stays silent    in float32; where a loss scaler keeps the gradients where they can be told
    Blind to        sums that lose small terms; what is computed between the outputs of modules; float8
    Remedies        in words: a loss scaler for float16, a smaller one where it skips; weights kept in float32
    Papers          Micikevicius et al. 2018, Mixed precision training, arXiv 1710.03740; Zamirai et al. 2021,
                    Revisiting BFloat16 training
    """
    severity: Severity = "critical" if stuck(record) else "warning" if struggles(record) else "info"
    unfinished = severity == "info" and (left(record) or 0.0) > UNFINISHED
    of_weights: Severity = "warning" if unfinished else severity
    found: tuple[tuple[Entry | None, Severity], ...] = (
        (_skipped(record.loss_scale), severity),
        (_underflow(record.half), severity),
        (_swallowed(record.updates), of_weights),
    )
    return tuple(
        Finding("LR404", "precision-loss", grade, entry[0], f"{entry[1]} {course(record)}", entry[2])
        for entry, grade in found
        if entry is not None
    )


def _underflow(half: Sequence[HalfGradients]) -> Entry | None:
    """Gradients that a larger loss would have saved."""
    lost = [found for found in half if found.lost >= HALF]
    if not lost:
        return None
    worst = max(lost, key=lambda found: found.lost)
    largest = max((found.largest for found in half), default=0.0)
    room = TOP / ROOM / largest if largest > 0 else math.inf
    scale = 2.0 ** math.floor(math.log2(min(room, USUAL)))
    summary = (
        f"Of the gradient that comes back to {named(worst.module)} in float16, {percent(worst.lost)} is rounded to 0 "
        f"that a larger loss would save; so it is in {len(lost)} of {counted(len(half), 'module')}. A loss scaler "
        f"(torch.amp.GradScaler) multiplies the loss and divides the gradient again: here {scale:.0f} would leave room."
    )
    evidence: dict[str, float | int | str | None] = {
        "module": worst.module,
        "lost": worst.lost,
        "tiny": worst.tiny,
        "modules": len(lost),
        "largest": largest,
        "scale": worst.scale,
        "would_do": scale,
    }
    return named(worst.module), summary, evidence


def _swallowed(updates: Sequence[Updates]) -> Entry | None:
    """Updates that the weights' own format does not notice."""
    narrow = [found for found in updates if found.dtype in NARROW and found.unmoved >= HALF]
    if not narrow:
        return None
    worst = max(narrow, key=lambda found: found.unmoved)
    summary = (
        f"The weights are kept in {worst.dtype}: of {worst.parameter}, {percent(worst.unmoved)} of the entries that "
        "have a gradient are the same after a step as before it: the change is lost in rounding. "
        f"So it is with {len(narrow)} of {len(updates)} matrices. Weights kept in float32, with autocast for speed, "
        "would not."
    )
    evidence: dict[str, float | int | str | None] = {
        "parameter": worst.parameter,
        "dtype": worst.dtype,
        "unmoved": worst.unmoved,
        "matrices": len(narrow),
        "lr": worst.lr,
    }
    return named(worst.module), summary, evidence


def _skipped(scaling: LossScale | None) -> Entry | None:
    """Steps that never happened."""
    if scaling is None or not scaling.steps:
        return None
    share = scaling.skipped / scaling.steps if math.isnan(scaling.late) else scaling.late
    if share < SKIPPED:
        return None
    summary = (
        f"The loss scaler has left out {percent(share)} of the steps, because gradients overflowed in float16; "
        f"in the end it multiplies the loss by {scaling.scale:.3g}. Where even a small factor is too much, the "
        "gradient itself is too large: clip it, scale the loss down, or use bfloat16."
    )
    evidence: dict[str, float | int | str | None] = {
        "skipped": scaling.skipped,
        "steps": scaling.steps,
        "late": scaling.late,
        "scale": scaling.scale,
    }
    return "model", summary, evidence
