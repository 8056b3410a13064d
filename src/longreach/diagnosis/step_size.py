"""LR503 step-size."""

import math
from collections.abc import Sequence
from statistics import median

from longreach.diagnosis.clipping_always_binds import clipping_always_binds
from longreach.diagnosis.finding import Finding, Severity
from longreach.diagnosis.learning import course, struggles, stuck
from longreach.diagnosis.precision_loss import precision_loss
from longreach.diagnosis.wording import counted, percent
from longreach.quantities.updates import Updates
from longreach.record import Record

FEWEST = 100  # steps: a shorter run has come nowhere yet
STILL = 0.2  # of its own size: no matrix of weights has come further in the whole run
THROWN = 5.0  # times its own size: so far has the middle matrix come
LEAP = 0.1  # of its own size: so far goes the middle matrix in one step
USUAL_WAY, USUAL_STEP = 1.0, 0.01  # of runs that learn, to the power of ten: the whole way, and a step at the start


def step_size(record: Record) -> tuple[Finding, ...]:
    """The weights hardly move, or are thrown about.

    Looks at        how far each matrix of weights is moved by a step, and has come in the whole run, against its own
                    size; what the loss does
    Why it matters  with steps too small the run ends where it began; with steps too large it leaps over every valley,
                    and what was set at the start is lost
    Threshold       too small: no matrix came further than 20% of its size in 100 steps or more. Too large: the middle
                    one came further than 5 times its size, or further than 10% in one step, at the start of the run or
                    later. Networks that learn come about as far as they are large, in steps of a percent at first
    Severity        critical if the run has learned next to nothing, a warning if most is left to learn
    Stays silent    where the run learns all the same: far more step sizes do than rules of thumb allow; where nothing
                    has a gradient, and where clipping (LR504) or the number format (LR404) makes the steps small
    Blind to        parameters with fewer than two axes; one part of a network that needs a step size of its own;
                    runs that are cut short and would have come further
    Remedies        a step size larger or smaller by the factor named; for steps too large also clipping
    Papers          Bengio 2012, arXiv 1206.5533, section 3.1; Agarwala et al. 2022 on step sizes and curvature
    """
    if not record.updates or record.steps < FEWEST or not struggles(record):
        return ()
    severity: Severity = "critical" if stuck(record) else "warning"
    if _thrown(record.updates):
        return (_too_large(record.updates, severity, record),)
    driven = [found for found in record.updates if not math.isnan(found.unmoved)]
    furthest = max(driven, key=lambda found: found.moved, default=None)
    if furthest is not None and furthest.moved < STILL and not _held_back(record):
        return (_too_small(furthest, severity, record),)
    return ()


def _thrown(moving: Sequence[Updates]) -> bool:
    return _middle(moving, "moved") > THROWN or max(_middle(moving, "early"), _middle(moving, "ratio")) > LEAP


def _middle(moving: Sequence[Updates], what: str) -> float:
    """The median over matrices; what is not a number has gone beyond all numbers."""
    values = (getattr(found, what) for found in moving)
    return median(math.inf if math.isnan(value) else value for value in values)


def _held_back(record: Record) -> bool:
    """Whether something else makes the steps small."""
    return any(found.severity != "info" for rule in (clipping_always_binds, precision_loss) for found in rule(record))


def _too_small(furthest: Updates, severity: Severity, record: Record) -> Finding:
    factor = _power_of_ten(USUAL_WAY / furthest.moved) if furthest.moved > 0 else math.inf
    larger = f"some {factor:.0f} times larger" if factor < 1e6 else "far larger"
    summary = (
        f"In {counted(record.steps, 'step')} no matrix of weights has come further than {percent(furthest.moved)} of "
        f"its own size ({furthest.parameter}); those of networks that learn come about as far as they are large. "
        f"{course(record)} Steps {larger} would still be usual."
    )
    return _finding("too small", summary, factor, furthest, severity, record)


def _too_large(moving: Sequence[Updates], severity: Severity, record: Record) -> Finding:
    way, leap = _middle(moving, "moved"), max(_middle(moving, "early"), _middle(moving, "ratio"))
    worst = max(moving, key=lambda found: math.inf if math.isnan(found.moved) else found.moved)
    factor = max(10.0, _power_of_ten(max(way / USUAL_WAY, leap / USUAL_STEP)))
    far = f"{way:.3g} times their own size" if way < math.inf else "beyond all numbers"
    summary = (
        f"The weights have been thrown {far}, and moved by {percent(leap)} in one step: what was set at the "
        f"start is lost. {course(record)} Steps some {min(factor, 1e6):.0f} times smaller would be usual."
    )
    return _finding("too large", summary, factor, worst, severity, record)


def _finding(
    direction: str, summary: str, factor: float, found: Updates, severity: Severity, record: Record
) -> Finding:
    evidence = {
        "direction": direction,
        "factor": factor,
        "parameter": found.parameter,
        "moved": found.moved,
        "ratio": found.ratio,
        "early": found.early,
        "optimizer": found.optimizer,
        "lr": found.lr,
        "steps": record.steps,
    }
    remedies = ("clip-norm", "clip-auto") if direction == "too large" else ()
    return Finding("LR503", "step-size", severity, "model", summary, evidence, remedies)


def _power_of_ten(value: float) -> float:
    return 10.0 ** round(math.log10(value)) if 0 < value < math.inf else value
