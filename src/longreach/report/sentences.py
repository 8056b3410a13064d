"""Sentences about a run, the same in the terminal and on the page."""

from longreach.diagnosis.learning import at_chance, course
from longreach.diagnosis.loss_trend import fall
from longreach.diagnosis.stacks import stacks
from longreach.diagnosis.vanishing_in_time import beyond_reach
from longreach.diagnosis.verdict import HEALTHY, Diagnosis
from longreach.diagnosis.wording import counted, percent
from longreach.record import DeepNeed, Layer, LongMemory, LossCurve, Need, Record
from longreach.report.words import safe


def without_finding(diagnosis: Diagnosis) -> tuple[str, str]:
    """What to say where no rule spoke: healthy is said only of what was tested."""
    record = diagnosis.record
    if not record.steps:
        return "nothing to judge", "No training step was seen."
    if at_chance(record):
        return "undecided", f"{course(record)} Nothing was found that explains it."
    if not record.layers and diagnosis.undecided:
        return "nothing to judge", "No layer was seen at work in this run: there is nothing to measure."
    if not record.layers:
        return (
            HEALTHY,
            "No gradient goes back through time here. Nothing was found in depth, units, weights and their steps.",
        )
    if not any(layer.reach for layer in record.layers):
        return "nothing to judge", "How far the gradient reaches could not be measured in any layer."
    if diagnosis.undecided:
        return "undecided", "How far the data need the gradient to reach could not be tested well enough to judge."
    if any(beyond_reach(stack) for stack in stacks(record)):
        return (
            HEALTHY,
            "The loss has all but vanished. What the error still asks for beyond the reach has little to give.",
        )
    return HEALTHY, "The data were not found to need more than the gradient reaches."


def nothing_to_draw(layer: Layer) -> str:
    """Why there is no picture of a layer."""
    if layer.reach and layer.reach.horizon < 1:
        return "The sequences are one step long: there is nothing to look back on."
    return f"Nothing could be measured here: {safe(layer.blind)}" if layer.blind else "Nothing could be measured here."


def tested(need: Need) -> str:
    """How need was tested, and what the test could have missed."""
    return (
        f"{counted(need.sequences, 'sequence')}, p = {need.p_value:.2g} over all lags together (level "
        f"{percent(need.level)}); smallest effect it would have found: {percent(need.detectable)} of the error"
    )


def deep_tested(deep: DeepNeed) -> str:
    """What the deep test found of two inputs together."""
    need = deep.need
    found = "no two inputs that count together"
    if need.lag is not None and deep.partner is not None:
        found = f"the input {counted(need.lag, 'step')} back, read together with the one {deep.partner} back"
    cut = f"; there was time for {percent(deep.scanned)} of all pairs, the furthest" if deep.scanned < 1 else ""
    return (
        f"{found}: {counted(need.sequences, 'sequence')}, p = {need.p_value:.2g} over all pairs of lags (level "
        f"{percent(need.level)}); smallest effect it would have found: {percent(need.detectable)} of the error{cut}"
    )


def remembered(memory: LongMemory) -> str:
    """How long the inputs remember."""
    d = f"d = {memory.d:.2f} +- {memory.error:.2f}"
    return f"of the input: {d} (0 short memory, 0.5 the border of long), p = {memory.p_value:.2g} against none"


def ran(record: Record) -> str:
    """How long the run was, and how often it was looked at."""
    sampled = max((layer.reach.samples for layer in record.layers if layer.reach), default=0)
    text = f"{counted(record.steps, 'step')} in {duration(record.seconds)}"
    return f"{text}, reach read at {sampled} of them" if sampled else text


def lost(curve: LossCurve) -> str:
    """Where the loss began and where it ended."""
    text = f"{curve.values[0]:.3g} at the start, {curve.values[-1]:.3g} at the end".replace("nan", "NaN")
    return text if fall(curve) is not None else f"{text}; whether it fell could not be judged"


def duration(seconds: float) -> str:
    """A time for people: 0.67 s, 12 min, 1.5 h."""
    if not abs(seconds) < 1e9:
        return "unknown time"
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 99.5 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
