"""A diagnosis: a record, and everything that the rules found in it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from longreach.diagnosis.finding import Finding
from longreach.diagnosis.learning import at_chance
from longreach.diagnosis.stacks import useful
from longreach.record import Record

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

HEALTHY = "healthy"


@dataclass(frozen=True)
class Diagnosis:
    """The record that was judged, and the findings, the gravest first. `print` shows the picture and the verdict."""

    record: Record
    findings: tuple[Finding, ...]

    @property
    def gravest(self) -> Finding | None:
        """The gravest finding, among equals the one of the lowest code; None if nothing was found."""
        return min(self.findings, key=lambda finding: finding.gravity, default=None)

    @property
    def verdict(self) -> str:
        """The name of the gravest finding, or "healthy"."""
        return self.gravest.name if self.gravest else HEALTHY

    @property
    def undecided(self) -> bool:
        """Nothing was found, and nothing was tested well enough for that to mean something, or the run learned nothing.

        Where sequences are read, need has to have been tested; elsewhere the weights have to have been seen to move.
        """
        if any(finding.severity != "info" for finding in self.findings):
            return False
        if at_chance(self.record):
            return True
        if self.findings:
            return False
        layers = self.record.layers
        return not any(useful(layer.need) for layer in layers) if layers else not self.record.updates

    def __str__(self) -> str:
        from longreach.report import terminal  # drawing lies above judging: known here only when asked to draw

        return terminal.render(self, width=80)

    def _repr_html_(self) -> str:
        from longreach.report import notebook

        return notebook.of_diagnosis(self)

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.text import Text

        from longreach.report import terminal

        yield Text.from_ansi(terminal.render(self, width=options.max_width, color=True).rstrip("\n"))
