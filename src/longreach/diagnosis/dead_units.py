"""LR301 dead-units."""

from longreach.diagnosis.finding import Finding, Severity
from longreach.diagnosis.learning import broken, course, struggles, stuck
from longreach.diagnosis.stacks import named
from longreach.diagnosis.wording import counted, percent
from longreach.quantities.units import Units
from longreach.record import Record

MANY = 0.5  # of a layer's units
REMEDIES = ("leaky-relu", "elu", "selu", "batch-norm", "layer-norm")


def dead_units(record: Record) -> tuple[Finding, ...]:
    """Units that let nothing through, whatever they are shown.

    Looks at        the slope of every unit's activation at all inputs of the sampled steps, in the second half of the
                    run
    Why it matters  no error passes a slope of 0: neither this unit's weights nor what lies below hear of it, and so a
                    dead unit stays dead
    Threshold       dead is a unit whose slope was 0 (of a smooth activation: below a thousandth) at every input, and a
                    gated unit with a gate that never opened by more than a thousandth. A layer is judged if half of its
                    units are dead: networks that learn often keep a quarter of theirs silent
    Severity        critical if all units of a layer are dead, nothing goes round them, and most of the task is left to
                    learn; a warning if half of them are and the run has learned next to nothing; otherwise info
    Stays silent    below half of a layer; where an activation is never flat (leaky ReLU); where the loss is no number
                    any more (LR401)
    Blind to        units that some rare input would wake; what torch.compile has compiled; activations beyond the first
                    2000 operations before the loss
    Remedies        activations that are never quite flat; normalisation in front; a smaller step size, and a bias that
                    does not start far below 0
    Papers          Lu, Shin, Su & Karniadakis 2020, Dying ReLU and initialization; Glorot, Bordes & Bengio 2011
    """
    layers = [found for found in record.units if found.dead >= MANY]
    if not layers or broken(record):
        return ()
    walls = [found for found in layers if found.dead == 1 and found.cut]
    severity: Severity = "info"
    if walls and struggles(record):
        severity = "critical"
    elif stuck(record):
        severity = "warning"
    # units are listed from the loss down: the last of the worst is the lowest, where the trouble begins
    worst = max(reversed(walls or layers), key=lambda found: found.dead)
    return (_finding(worst, layers, bool(walls), severity, record),)


def _finding(worst: Units, layers: list[Units], wall: bool, severity: Severity, record: Record) -> Finding:
    share = "All" if worst.dead == 1 else percent(worst.dead)
    summary = (
        f"{share} of the {worst.units} units behind this module ({worst.kind}) let nothing through at any of "
        f"{counted(worst.inputs, 'input')} looked at, since step {worst.since} at the latest. "
    )
    if len(layers) > 1:
        summary += (
            f"{counted(len(layers) - 1, 'other layer')} {'has' if len(layers) == 2 else 'have'} lost half or more. "
        )
    if wall:
        summary += "Nothing goes round them: what lies below has no part in the answer, and no gradient. "
    summary += course(record)
    evidence = {
        "kind": worst.kind,
        "units": worst.units,
        "dead": worst.dead,
        "since": worst.since,
        "layers": len(layers),
        "inputs": worst.inputs,
        "samples": worst.samples,
    }
    return Finding("LR301", "dead-units", severity, named(worst.module), summary, evidence, REMEDIES)
