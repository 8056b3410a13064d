"""What `longreach treat` says at the end."""

from statistics import median
from typing import TYPE_CHECKING

from longreach.diagnosis import Diagnosis
from longreach.diagnosis.learning import at_chance
from longreach.report.words import safe

if TYPE_CHECKING:
    from longreach.trial.treat import Treated


def render(found: "Treated") -> str:
    """The proof, what became of reach and need, and the lines to put into the script."""
    parts = [_verdict(found)]
    if found.proof is not None:
        parts += [_forecasts(found), str(found.proof).rstrip(), _reach(found), _patch(found)]
    if not found.complete:
        parts.append("Interrupted: this is what is known so far. The same command goes on from here.")
    parts.append(f"kept in {found.folder}")
    return "\n\n".join(part for part in parts if part)


def _verdict(found: "Treated") -> str:
    gravest = found.diagnosis.gravest
    said = _unblamed(found.diagnosis) if gravest is None else f"{gravest.code} {gravest.name} in {safe(gravest.where)}"
    text = f"The script as it is: {said}."
    if found.proof is None:
        return f"{text}\n{_nothing(found)} `longreach report` tells more; --remedies A,B tries some anyway."
    return text


def _unblamed(diagnosis: Diagnosis) -> str:
    if at_chance(diagnosis.record):
        return "no fault was found, and nothing was learned"
    return "no fault was found" if diagnosis.undecided else "healthy"


def _nothing(found: "Treated") -> str:
    gravest = found.diagnosis.gravest
    if gravest is None and at_chance(found.diagnosis.record):
        return "There may be nothing to learn: a remedy cannot be prescribed."
    if gravest is None:
        return "Nothing is to be treated."
    if gravest.severity == "info":
        return "It learns all the same: nothing is to be treated."
    return "No remedy that longreach has is for that."


def _forecasts(found: "Treated") -> str:
    if not found.forecasts:
        return ""
    wanted = "" if found.need is None else f"; {found.need} are needed"
    lines = [f"What each would do to the reach, in steps, at the start{wanted}:"]
    for course, result in found.forecasts.items():
        if result.refused:
            shown = "does not fit"
        elif result.failed:
            shown = "could not be measured"
        else:
            shown = "not measured" if result.reach is None else str(result.reach)
        lines.append(f"  {course:<34} {shown}")
    return "\n".join(lines)


def _reach(found: "Treated") -> str:
    winner = found.proof.winner if found.proof else None
    if winner is None or found.proof is None:
        return ""
    before = [run.reach for run in found.proof.control.outcomes if run.reach is not None]
    after = [run.reach for run in winner.outcomes if run.reach is not None]
    if not before or not after:
        return ""
    need = "" if found.need is None else f", need {found.need}"
    return f"Reach {median(before):.0f} -> {median(after):.0f}{need}."


def _patch(found: "Treated") -> str:
    patch = found.patch
    if patch is None:
        return ""
    count = {1: "this line", 2: "these two lines"}.get(patch.lines, f"these {patch.lines} lines")
    if patch.diff is None:
        before = [f"  {line}" for line in patch.before]
        after = [f"  {line}" for line in patch.after]
        text = [f"Put {count} into {patch.file}, with `from longreach import remedies`:"]
        text += ["before the optimizer is made:", *before] if before else []
        text += ["after the optimizer is made:", *after] if after else []
        return "\n".join(text)
    said = (
        ""
        if found.same is None
        else (
            "\nThe patched script was run: its losses begin as those of the trial."
            if found.same
            else "\nThe patched script was run, and its losses differ: look at it before you rely on it."
        )
    )
    return f"Put {count} into {patch.file} (patch -p0 < {found.folder}/patch.diff).{said}\n\n{patch.diff.rstrip()}"
