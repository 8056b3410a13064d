"""LR302 saturated-units."""

from longreach.diagnosis.badly_scaled_input import badly_scaled
from longreach.diagnosis.finding import Finding, Severity
from longreach.diagnosis.learning import broken, course, struggles, stuck
from longreach.diagnosis.stacks import named
from longreach.diagnosis.wording import counted, percent
from longreach.quantities.units import Units
from longreach.record import Record

MANY, NEARLY_ALL = 0.5, 0.9  # of a layer's units
EARLY = 0.1  # of the run
REMEDIES = ("layer-norm", "batch-norm", "scaled-init", "orthogonal-init", "relu", "clip-norm")


def saturated_units(record: Record) -> tuple[Finding, ...]:
    """Units driven so far to the flat ends of their activation that hardly any error passes.

    Looks at        the slope f'(a) of every hidden tanh and sigmoid unit over all data and time of the sampled steps,
                    and of the units of fused recurrent layers (see probes/gates.py), in the second half of the run
    Why it matters  an error is multiplied by the slope in every layer and at every step: a twentieth in three layers
                    in a row leaves an eight-thousandth
    Threshold       half of a layer's units with a slope below 5 % of the largest there is, at most of their inputs in
                    most samples; in a run that has learned next to nothing, or little where it was so from the first
                    tenth of the run on. Not the mean slope: along time slopes multiply, and a steep one makes up for
                    nothing. Not a bound on an input either: what counts is how often a unit can be moved
    Severity        critical if nine tenths of a layer are saturated, otherwise a warning; so too where the layer reads
                    inputs in bad units, which are the cause (LR602)
    Stays silent    where the run learns: units at their ends then hold decisions. On gates, which have to close, and on
                    forget gates near 1, which are memory; on outputs, which a sure answer saturates; where the loss
                    is no number any more (LR401)
    Blind to        what torch.compile has compiled; activations beyond the first 2000 operations before the loss
    Remedies        normalisation in front; smaller weights at the start; inputs of order one; activations without a
                    flat upper end
    Papers          Glorot & Bengio 2010; Hochreiter 1991
    """
    layers = [found for found in record.units if found.hidden and found.saturated >= MANY]
    if not stuck(record):
        # in nets that read much into little, units come to sit at their ends while they learn: that is no fault
        layers = [found for found in layers if struggles(record) and EARLY * record.steps >= found.since]
    if not layers or broken(record):
        return ()
    worst = max(reversed(layers), key=lambda found: found.saturated)
    return (_finding(worst, layers, record),)


def _finding(worst: Units, layers: list[Units], record: Record) -> Finding:
    # of an input in bad units this is but the consequence
    fed = any(given.module == worst.module and badly_scaled(given) for given in record.inputs)
    severity: Severity = "critical" if worst.saturated >= NEARLY_ALL and not fed else "warning"
    summary = (
        f"{percent(worst.saturated)} of the {worst.units} units behind this module ({worst.kind}) sit at the flat ends "
        "of their activation at most inputs and times: less than a twentieth of an error passes. "
    )
    if len(layers) > 1:
        summary += f"So do half or more of the units of {counted(len(layers) - 1, 'other layer')}. "
    summary += course(record)
    evidence = {
        "kind": worst.kind,
        "units": worst.units,
        "saturated": worst.saturated,
        "since": worst.since,
        "layers": len(layers),
        "inputs": worst.inputs,
        "samples": worst.samples,
    }
    return Finding("LR302", "saturated-units", severity, named(worst.module), summary, evidence, REMEDIES)
