"""The tasks of the literature, for the terminal."""

from longreach.report.screen import Screen
from longreach.report.sheet import Sheet


def render(screen: Screen | None = None) -> str:
    """Name and source of each, and when it counts as solved."""
    from longreach.tasks import TASKS

    sheet = Sheet(screen or Screen())
    for task in TASKS:
        sheet.line((task.name, "strong"))
        sheet.paragraph(f"{task.source}. Solved: {task.criterion}")
        sheet.gap()
    return sheet.text()
