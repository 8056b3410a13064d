"""What `longreach treat` says at the end: the picture before, the proof, the picture after, the patch."""

from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from longreach.diagnosis import Diagnosis
from longreach.diagnosis.learning import at_chance
from longreach.record import Layer
from longreach.report import proved, terminal
from longreach.report.chart import Span
from longreach.report.places import gravest_first
from longreach.report.screen import Screen
from longreach.report.sheet import Sheet
from longreach.report.words import safe

if TYPE_CHECKING:
    from longreach.trial.patch import Patch
    from longreach.trial.treat import Treated


def render(found: "Treated", screen: Screen | None = None) -> str:
    """What is wrong, what helps, what became of reach and need, and the lines to put into the script."""
    sheet = Sheet(screen or Screen())
    _before(sheet, found)
    if found.proof is not None:
        _forecasts(sheet, found)
        proved.write(sheet, found.proof)
        sheet.gap()
        _after(sheet, found)
        _patch(sheet, found)
    if not found.complete:
        sheet.paragraph("Interrupted: this is what is known so far. The same command goes on from here.", first="")
        sheet.gap()
    if found.page:
        sheet.whole(f"page: {found.page}")
    sheet.whole(f"kept in {found.folder}")
    return sheet.text()


def _before(sheet: Sheet, found: "Treated") -> None:
    gravest = found.diagnosis.gravest
    said = _unblamed(found.diagnosis) if gravest is None else f"{gravest.code} {gravest.name} in {gravest.where}"
    style = gravest.severity if gravest is not None else "healthy" if said == "healthy" else "strong"
    sheet.paragraph(f"The script as it is: {safe(said)}.", first="", style=style)
    if found.proof is None:
        sheet.paragraph(_nothing(found), first="")
        sheet.paragraph("`longreach report` tells more; --remedies A,B tries some anyway.", first="")
    sheet.gap()
    terminal.picture(sheet, found.diagnosis)


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


def _forecasts(sheet: Sheet, found: "Treated") -> None:
    if not found.forecasts:
        return
    wanted = "" if found.need is None else f"; {found.need} are needed"
    sheet.paragraph(f"What each would do to the reach, in steps, at the start{wanted}:", first="")
    size = max(map(len, found.forecasts))
    for course, result in found.forecasts.items():
        if result.refused:
            shown: Span = ("does not fit", "label")
        elif result.failed or result.reach is None:
            shown = ("could not be measured" if result.failed else "not measured", "label")
        else:
            shown = (str(result.reach), "reach")
        sheet.line((f"  {safe(course):<{size}}  ", "plain"), shown)
    sheet.gap()


def _after(sheet: Sheet, found: "Treated") -> None:
    """The winner's reach beside the need of the script as it is: what was missing, and whether it is covered now."""
    winner = found.proof.winner if found.proof else None
    if winner is None or found.proof is None:
        return
    if found.after:
        place = gravest_first(found.diagnosis)[:1]
        layer = _counterpart(place[0].layer if place else None, found.after)
        if terminal.chart(sheet, f"with {safe(winner.name)}", layer) and layer.need is not None:
            sheet.paragraph("its reach, beside the need of the script as it was", style="label")
            sheet.gap()
    before = [run.reach for run in found.proof.control.outcomes if run.reach is not None]
    after = [run.reach for run in winner.outcomes if run.reach is not None]
    if before and after:
        need = "" if found.need is None else f", need {found.need}"
        sheet.paragraph(f"Reach {median(before):.0f} -> {median(after):.0f}{need}.", first="", style="strong")
        sheet.gap()


def _counterpart(before: Layer | None, after: tuple[Layer, ...]) -> Layer:
    """The layer that stands where the gravest one stood, or the one that reaches furthest, with the need there was."""
    there = [layer for layer in after if before is not None and layer.module == before.module]
    furthest = max(there or after, key=lambda layer: layer.reach.lag if layer.reach else -1)
    return replace(furthest, need=before.need) if before is not None else furthest


def _patch(sheet: Sheet, found: "Treated") -> None:
    patch = found.patch
    if patch is None:
        return
    count = {1: "this line", 2: "these two lines"}.get(patch.lines, f"these {patch.lines} lines")
    if patch.diff is None:
        _to_paste(sheet, patch, count)
        return
    sheet.whole(f"Put {count} into {patch.file} (patch -p0 < {found.folder}/patch.diff).")
    if found.same is not None:
        same = "The patched script was run: its losses begin as those of the trial."
        other = "The patched script was run, and its losses differ: look at it before you rely on it."
        sheet.paragraph(same if found.same else other, first="", style="plain" if found.same else "warning")
    sheet.gap()
    for line in patch.diff.rstrip().split("\n"):
        sheet.whole(line, {"+": "added", "-": "removed"}.get(line[:1], "plain"))
    sheet.gap()


def _to_paste(sheet: Sheet, patch: "Patch", count: str) -> None:
    sheet.whole(f"Put {count} into {patch.file}, with `from longreach import remedies`:")
    for when, calls in (("before", patch.before), ("after", patch.after)):
        if calls:
            sheet.line((f"{when} the optimizer is made:", "plain"))
            for call in calls:
                sheet.whole(f"  {call}", "added")
    sheet.gap()
