"""A finding: one named fault, with the numbers that a reader needs in order to disagree with it."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["critical", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")  # the gravest first


@dataclass(frozen=True)
class Finding:
    """What a rule found.

    code      "LR101"
    name      "vanishing-in-time"
    severity  "critical" (the run cannot succeed like this), "warning" (it costs something) or "info" (good to know)
    where     the recurrent module, and its direction if that is not forward
    summary   one or two sentences with the numbers, for a reader who has never heard of Jacobians
    evidence  the numbers by name, each with its unit in the rule's data sheet
    remedies  names of remedies, the most promising first; empty where the network is not at fault
    """

    code: str
    name: str
    severity: Severity
    where: str
    summary: str
    evidence: dict[str, float | int | str | None]
    remedies: tuple[str, ...] = ()

    @property
    def gravity(self) -> tuple[int, str]:
        """Sorts findings: the gravest first, among equals the lowest code."""
        return SEVERITIES.index(self.severity), self.code
