"""The layers of a diagnosis in the order in which they are told of: the gravest first."""

from dataclasses import dataclass

from longreach.diagnosis.finding import SEVERITIES, Finding
from longreach.diagnosis.stacks import Stack, named, stacks
from longreach.diagnosis.verdict import Diagnosis
from longreach.record import Layer
from longreach.report.words import safe


@dataclass(frozen=True)
class Place:
    """One layer and direction: what to call it, safe to print, and the gravest finding in it."""

    name: str
    layer: Layer
    finding: Finding | None


def gravest_first(diagnosis: Diagnosis) -> list[Place]:
    """All layers of a diagnosis, the one to draw first."""
    found = [_place(stack, layer, diagnosis) for stack in stacks(diagnosis.record) for layer in stack.layers]
    return sorted(found, key=_interest)


def _place(stack: Stack, layer: Layer, diagnosis: Diagnosis) -> Place:
    name = named(stack.module)
    name += f"[{layer.index}]" if len(stack.layers) > 1 else ""
    name += f" ({stack.direction})" if stack.direction != "forward" else ""
    here = (finding for finding in diagnosis.findings if _speaks_of(finding, stack, layer))
    return Place(safe(name), layer, min(here, key=lambda finding: finding.gravity, default=None))


def _speaks_of(finding: Finding, stack: Stack, layer: Layer) -> bool:
    """Findings are about one layer of a stack, or, where their evidence names none, about a whole module."""
    if "layer" in finding.evidence:
        return finding.where == stack.name and finding.evidence["layer"] == layer.index
    return finding.where == named(stack.module)


def _interest(place: Place) -> tuple[tuple[int, str], bool]:
    """Sorts layers: the gravest finding first, then what was measured."""
    gravity = place.finding.gravity if place.finding else (len(SEVERITIES), "")
    return gravity, place.layer.reach is None
