"""A proof on a terminal: the sentence, then a row an arm."""

from typing import TYPE_CHECKING

from longreach.report.screen import Screen
from longreach.report.sheet import Cell, Sheet
from longreach.report.words import safe

if TYPE_CHECKING:
    from longreach.trial.proof import Proof

SAID = {"proven": "healthy", "worse": "warning"}  # styles of verdicts; the others are no news


def render(proof: "Proof", screen: Screen | None = None) -> str:
    """Everything as text that ends in a newline; no line is wider than the screen."""
    sheet = Sheet(screen or Screen())
    write(sheet, proof)
    return sheet.text()


def write(sheet: Sheet, proof: "Proof") -> None:
    """What is proven, the arms with the controls first, and what else is to be said."""
    style = "healthy" if proof.winner is not None else "plain"
    sheet.paragraph(safe(proof.sentence, 2000), first="", style=style)
    sheet.gap()
    head, *rows = proof.rows
    sheet.table(head, [_row(row) for row in rows], left=True)
    for sentence in (*proof.remarks, *proof.notes):
        sheet.paragraph(safe(sentence, 2000), first="", style="label")


def _row(row: tuple[str, ...]) -> list[Cell]:
    """Name, numbers, reach, verdict."""
    name, *numbers, reach, said = map(safe, row)
    return [name, *numbers, (reach, "reach"), (said, SAID.get(said, "label"))]
