"""LR601 no-signal, where no sequence is read."""

from collections.abc import Callable

from longreach.diagnosis.badly_scaled_input import badly_scaled_input
from longreach.diagnosis.clipping_always_binds import clipping_always_binds
from longreach.diagnosis.collapsed_weights import collapsed_weights
from longreach.diagnosis.dead_units import dead_units
from longreach.diagnosis.exploding_in_depth import exploding_in_depth
from longreach.diagnosis.finding import Finding
from longreach.diagnosis.learning import at_chance, left
from longreach.diagnosis.non_finite import non_finite
from longreach.diagnosis.precision_loss import precision_loss
from longreach.diagnosis.saturated_units import saturated_units
from longreach.diagnosis.step_size import STILL, step_size
from longreach.diagnosis.unstable_loss import unstable_loss
from longreach.diagnosis.vanishing_in_depth import vanishing_in_depth
from longreach.diagnosis.wording import percent
from longreach.diagnosis.wrong_gradient import wrong_gradient
from longreach.record import Record

FEWEST_STEPS = 200  # a net that has not come to learn anything by then may only be slow to start

# Whatever else would explain that nothing was learned.
CAUSES: tuple[Callable[[Record], tuple[Finding, ...]], ...] = (
    non_finite,
    wrong_gradient,
    vanishing_in_depth,
    exploding_in_depth,
    dead_units,
    saturated_units,
    collapsed_weights,
    precision_loss,
    unstable_loss,
    step_size,
    clipping_always_binds,
    badly_scaled_input,
)


def no_signal_by_exclusion(record: Record) -> tuple[Finding, ...]:
    """The weights move as in runs that learn, nothing stands in the gradient's way, and nothing is learned.

    Looks at        the loss beside that of the best constant answer, how far the weights have come, all other rules
    Why it matters  no change of the network will help: labels are shuffled, belong to other rows, or are noise
    Threshold       a loss of at least 90 % of that of the best constant answer in the last quarter of 200 steps
                    or more; weights that have come at least a fifth of their own size; no other warning
    Severity        warning: what is left when all else is excluded is an inference, no measurement
    Stays silent    where a sequence is read: there need is tested; where chance is not known; where the loss is falling
    Blind to        a network that cannot express what the inputs tell, which looks the same
    Remedies        none: look at the data
    Papers          Zhang, Bengio, Hardt, Recht & Vinyals 2017, for what networks do with labels of noise
    """
    share = left(record)
    come = max((found.moved for found in record.updates), default=0.0)
    if record.layers or share is None or not at_chance(record) or record.steps < FEWEST_STEPS or not come >= STILL:
        return ()
    if any(finding.severity != "info" for rule in CAUSES for finding in rule(record)):
        return ()
    summary = (
        f"The weights have come {percent(come)} of their own size and nothing stands in the gradient's way, yet the "
        f"loss is {percent(share)} of that of an answer that never looks at the input. Either the inputs tell nothing "
        "about the targets, or this network cannot express it. Check that inputs and targets belong together."
    )
    evidence = {"loss_of_chance": share, "moved": come, "steps": record.steps}
    return (Finding("LR601", "no-signal", "warning", "model", summary, evidence),)
