"""Rules that judge a record: one rule a file, Record -> findings. No torch: a diagnosis runs from a file, anywhere."""

from collections.abc import Callable

from longreach.diagnosis.badly_scaled_input import badly_scaled_input
from longreach.diagnosis.clipping_always_binds import clipping_always_binds
from longreach.diagnosis.collapsed_weights import collapsed_weights
from longreach.diagnosis.dead_units import dead_units
from longreach.diagnosis.denormals import denormals
from longreach.diagnosis.exploding_in_depth import exploding_in_depth
from longreach.diagnosis.exploding_in_time import exploding_in_time
from longreach.diagnosis.finding import Finding, Severity
from longreach.diagnosis.no_signal import no_signal
from longreach.diagnosis.no_signal_by_exclusion import no_signal_by_exclusion
from longreach.diagnosis.non_finite import non_finite
from longreach.diagnosis.precision_loss import precision_loss
from longreach.diagnosis.reached_but_unlearned import reached_but_unlearned
from longreach.diagnosis.saturated_units import saturated_units
from longreach.diagnosis.short_reach_harmless import short_reach_harmless
from longreach.diagnosis.step_size import step_size
from longreach.diagnosis.truncated_too_short import truncated_too_short
from longreach.diagnosis.unstable_loss import unstable_loss
from longreach.diagnosis.vanishing_in_depth import vanishing_in_depth
from longreach.diagnosis.vanishing_in_time import vanishing_in_time
from longreach.diagnosis.verdict import Diagnosis
from longreach.diagnosis.wrong_gradient import wrong_gradient
from longreach.record import Record

__all__ = ["RULES", "Diagnosis", "Finding", "Rule", "Severity", "diagnose"]

Rule = Callable[[Record], tuple[Finding, ...]]

RULES: tuple[Rule, ...] = (
    vanishing_in_time,
    exploding_in_time,
    short_reach_harmless,
    truncated_too_short,
    vanishing_in_depth,
    exploding_in_depth,
    non_finite,
    wrong_gradient,
    denormals,
    precision_loss,
    unstable_loss,
    reached_but_unlearned,
    no_signal,
    no_signal_by_exclusion,
    step_size,
    clipping_always_binds,
    dead_units,
    saturated_units,
    collapsed_weights,
    badly_scaled_input,
)


def diagnose(record: Record) -> Diagnosis:
    """Every rule on one record; the gravest finding comes first."""
    findings = [finding for rule in RULES for finding in rule(record)]
    return Diagnosis(record, tuple(sorted(findings, key=lambda finding: finding.gravity)))
