"""What a training run came to, for the terminal."""

from typing import TYPE_CHECKING

from longreach.diagnosis import Diagnosis
from longreach.report import terminal
from longreach.report.screen import Screen
from longreach.report.sheet import Cell, Sheet
from longreach.report.words import safe

if TYPE_CHECKING:
    from longreach.training.outcome import Outcome


def render(
    outcome: "Outcome", diagnosis: Diagnosis | None = None, screen: Screen | None = None, *, page: str = ""
) -> str:
    """Scores on the test data beside those of the best rule without a network, picture and verdict, what lies where.

    diagnosis  of the run, where it was watched
    page       where it is, as it is to be shown; none: it is not mentioned
    """
    sheet = Sheet(screen or Screen())
    minutes, seconds = divmod(round(outcome.seconds), 60)
    counts = ((outcome.skipped, "skipped"), (outcome.returns, "ways back"))
    trouble = ", ".join(f"{count} {what}" for count, what in counts if count)
    took = f"{outcome.updates} updates in {minutes} min {seconds} s"
    sheet.paragraph(took + (f" ({trouble})" if trouble else ""), first="")
    sheet.gap()
    sheet.table(("", f"{'test':>10}", f"{'naive':>10}"), _scores(outcome))
    sheet.gap()
    if diagnosis is not None:
        terminal.write(sheet, diagnosis)
        sheet.gap()
    elif outcome.verdict:
        sheet.line(("  verdict  ", "plain"), (safe(outcome.verdict.replace("-", " ")), "strong"))
        sheet.gap()
    for sentence in outcome.left:
        sheet.paragraph(safe(sentence, 2000), first="")
    if page:
        sheet.whole(f"page: {page}")
    sheet.whole(f"run folder: {outcome.folder}")
    return sheet.text()


def _scores(outcome: "Outcome") -> list[list[Cell]]:
    """A row a score: of the network, and of the best rule without one."""
    names = dict.fromkeys((*outcome.test, *outcome.naive))
    return [
        [safe(name), *(f"{of[name]:.4g}" if name in of else "" for of in (outcome.test, outcome.naive))]
        for name in names
    ]
