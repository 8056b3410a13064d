"""LR501 unstable-loss."""

import math
from statistics import median

from longreach.diagnosis.finding import Finding, Severity
from longreach.diagnosis.learning import course, struggles, stuck
from longreach.diagnosis.stacks import named
from longreach.diagnosis.wording import counted, percent
from longreach.quantities.restless import Restless
from longreach.quantities.spikes import RISEN, Spike
from longreach.quantities.updates import EARLY
from longreach.record import Record

SEVERAL = 3  # jumps: one may be a change of task, and two a coincidence
THROWN = 5.0  # times their own size: so far the middle matrix of weights has come in a run that was thrown off
BEYOND = 2.0  # times chance
BURSTS = 0.005  # of the steps: one in two hundred
FEWEST = 3  # bursts
SWING, ENOUGH = -0.4, 100  # a correlation at four standard errors or more below 0, from so many steps on


def unstable_loss(record: Record) -> tuple[Finding, ...]:
    """The loss jumps, bursts or swings instead of settling.

    Looks at        jumps of the loss that last eight steps or so, seen at every step; single steps far above their
                    level; the correlation of neighbouring losses; whose gradient rose first
    Why it matters  one step too far undoes hundreds; what comes after starts anew, from a worse place
    Threshold       beyond the first tenth of the run: three jumps to twice the level and beyond all usual scatter; or
                    one that was not over after 64 steps or when the run ended, after a gradient ten times its usual
                    norm, or with weights thrown to five times their size, or with twice the loss in the end that an
                    answer has that never looks; or one step in two hundred at 20 times the level; or a correlation of
                    -0.4 between neighbouring losses, where each step throws over what the one before has done
    Severity        critical if the run has learned next to nothing, or ends like that; a warning if most is left to
                    learn; info if it learns all the same
    Stays silent    for the noise of mini-batches, however large: it neither lasts nor swings; for one change of task
    Blind to        a loss that goes below zero; single bursts in runs so long that their losses are kept as means
    Remedies        limits on the gradient; a smaller step size, or one that is warmed up; a look at the data where
                    single batches burst
    Papers          Pascanu, Mikolov & Bengio 2013 on walls in the loss; Chowdhery et al. 2022, PaLM, section 5.1;
                    Cohen et al. 2021 on the edge of stability
    """
    steps = record.steps
    jumps = [jump for jump in record.spikes if jump.step >= EARLY * steps]
    ruined = _ends_beyond_chance(record)
    lost = [jump for jump in jumps if not jump.over and (ruined or _ahead(jump) or _thrown(record))]
    severity: Severity = "critical" if stuck(record) else "warning" if struggles(record) else "info"
    if lost and ruined:
        severity = "critical"
    if lost or len(jumps) >= SEVERAL:
        return (_of_jumps(jumps, lost[0] if lost else max(jumps, key=_times), severity, record),)
    restless = record.restless
    if restless is None or severity == "info":
        return ()
    if restless.bursts >= BURSTS and restless.bursts * restless.steps >= FEWEST:
        return (_of_bursts(restless, severity, record),)
    if restless.swing <= SWING and restless.steps >= ENOUGH:
        return (_of_swing(restless, severity, record),)
    return ()


def _times(jump: Spike) -> float:
    return jump.height / jump.level if jump.level > 0 else math.inf


def _ends_beyond_chance(record: Record) -> bool:
    """Whether the run ends with twice the loss of an answer that never looks at the input."""
    if record.loss is None or not record.loss.values or record.chance is None:
        return False
    values = [math.inf if math.isnan(value) else value for value in record.loss.values]
    return median(values[-max(1, len(values) // 20) :]) > BEYOND * record.chance


def _ahead(jump: Spike) -> bool:
    """Whether a gradient was far above its usual size no later than the loss."""
    return jump.factor >= RISEN and 0 <= jump.rose <= jump.step


def _thrown(record: Record) -> bool:
    ways = [math.inf if math.isnan(found.moved) else found.moved for found in record.updates]
    return bool(ways) and median(ways) > THROWN


def _of_jumps(jumps: list[Spike], worst: Spike, severity: Severity, record: Record) -> Finding:
    times = f"{_times(worst):.3g} times" if _times(worst) < math.inf else "beyond all numbers,"
    summary = f"At step {worst.step} the loss jumped from {worst.level:.3g} to {worst.height:.3g}, {times} its level"
    summary += ", and did not come back. " if not worst.over else f", for {counted(worst.lasted, 'step')}. "
    if len(jumps) > 1:
        summary += f"Beyond the first tenth of the run it jumped {len(jumps)} times. "
    if worst.rose >= 0:
        back = f", {counted(worst.lag, 'step')} back in time" if worst.lag > 0 else ""
        summary += (
            f"The first gradient to rise was that of {named(worst.module)}{back}: at step {worst.rose} it was "
            f"{worst.factor:.3g} times its usual size. "
        )
    evidence = {
        "kind": "jumps",
        "jumps": len(jumps),
        "step": worst.step,
        "level": worst.level,
        "height": worst.height,
        "lasted": worst.lasted,
        "over": worst.over,
        "module": worst.module,
        "rose": worst.rose,
        "factor": worst.factor,
        "lag": worst.lag,
    }
    return _finding(named(worst.module), summary, evidence, severity, record)


def _of_bursts(restless: Restless, severity: Severity, record: Record) -> Finding:
    times = f"some {restless.height:.3g} times" if restless.height < math.inf else "infinitely many times"
    summary = (
        f"At {percent(restless.bursts)} of the steps the loss is {times} its level, and back at the next: single "
        "batches hold something that the others do not. Look at the data there (units, labels, broken records), or "
        "limit what one batch can do. "
    )
    evidence = {"kind": "bursts", "bursts": restless.bursts, "height": restless.height, "steps": restless.steps}
    return _finding("model", summary, evidence, severity, record)


def _of_swing(restless: Restless, severity: Severity, record: Record) -> Finding:
    summary = (
        f"The loss swings: after a step up comes a step down (correlation {restless.swing:.2f} between neighbours). "
        "Each update throws the weights to the other side of the valley: a smaller step size lets them settle. "
    )
    evidence = {"kind": "swing", "swing": restless.swing, "steps": restless.steps}
    return _finding("model", summary, evidence, severity, record)


def _finding(
    where: str, summary: str, evidence: dict[str, float | int | str | None], severity: Severity, record: Record
) -> Finding:
    remedies = ("clip-norm", "clip-auto")
    return Finding("LR501", "unstable-loss", severity, where, summary + course(record), evidence, remedies)
