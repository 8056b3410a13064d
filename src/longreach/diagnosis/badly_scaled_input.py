"""LR602 badly-scaled-input."""

from longreach.diagnosis.finding import Finding, Severity
from longreach.diagnosis.learning import course, struggles, stuck
from longreach.diagnosis.stacks import named
from longreach.quantities.inputs import Input
from longreach.record import Record

OFFSET = 10.0  # deviations
SPREAD = 100.0  # between the deviations of features
LARGE, SMALL = 100.0, 0.01  # root mean square
REMEDIES = ("batch-norm", "layer-norm")


def badly_scaled_input(record: Record) -> tuple[Finding, ...]:
    """The data come in units that no step size suits.

    Looks at        what the first module with parameters gets from outside of the model: the size of its values, the
                    mean of each feature in units of its deviation, and the deviations of features beside each other
    Why it matters  one step size has to suit all weights. Of a linear layer the curvature grows with the square of an
                    input's size: a mean of ten deviations makes it a hundred times steeper in one direction than in the
                    others, a feature in units a hundred times as large ten thousand times
    Threshold       a mean of 10 deviations or more; a deviation 100 times that of a quarter of the features; a root
                    mean square of 100 or more, or of a hundredth or less, where the usual start of a layer expects 1.
                    And most of the task is left to learn
    Severity        critical if the run has learned next to nothing, otherwise a warning
    Stays silent    where the run learns all the same; where a normalisation layer comes first; on token ids
    Blind to        batches of fewer than 8 rows and steps; features that did not change in any sample; targets
    Remedies        standardise: subtract each feature's mean and divide by its deviation, both of the training data
    Papers          LeCun, Bottou, Orr & Müller 1998, Efficient BackProp, section 4.3
    """
    if not struggles(record):
        return ()
    found = [(given, says) for given in record.inputs if (says := badly_scaled(given))]
    return tuple(_finding(given, says, record) for given, says in found[:1])


def badly_scaled(given: Input) -> str:
    """What is wrong with an input, in a sentence; "" if nothing is."""
    if given.offset >= OFFSET:
        return (
            f"The inputs are not centred: a feature with a deviation of {given.deviation:.3g} has the mean "
            f"{given.mean:.3g}. Next to that its changes hardly count, and the step size must suit the mean."
        )
    if given.spread >= SPREAD:
        return (
            f"The features come in very different units: the largest deviation is {given.largest:.3g}, and a quarter "
            f"of them do not exceed {given.smaller:.3g}. The largest sets the step size, the others are not learned."
        )
    if given.scale >= LARGE or given.scale <= SMALL:
        size = "large" if given.scale >= LARGE else "small"
        return (
            f"The inputs are very {size}: {given.scale:.3g} in the root mean square, where a layer's start expects 1."
        )
    return ""


def _finding(given: Input, says: str, record: Record) -> Finding:
    evidence = {
        "features": given.features,
        "scale": given.scale,
        "offset": given.offset,
        "spread": given.spread,
        "mean": given.mean,
        "deviation": given.deviation,
    }
    summary = f"{says} {course(record)} Subtract each feature's mean and divide by its deviation."
    severity: Severity = "critical" if stuck(record) else "warning"
    return Finding("LR602", "badly-scaled-input", severity, named(given.module), summary, evidence, REMEDIES)
