"""What a story says in words and tables: the verdict, the findings, the layers. No markup: the templates make that."""

from dataclasses import dataclass
from typing import Any

from longreach.diagnosis.finding import Finding
from longreach.diagnosis.stacks import asked
from longreach.diagnosis.verdict import HEALTHY, Diagnosis
from longreach.diagnosis.wording import percent
from longreach.report.page.ran import run_facts
from longreach.report.page.taught import Taught, taught
from longreach.report.page.text import brief
from longreach.report.places import Place, gravest_first
from longreach.report.sentences import without_finding
from longreach.report.words import REMEDIES, heading
from longreach.story import Story

MOST = 20  # findings of one kind, and rows of layers: the gravest come first


@dataclass(frozen=True)
class Verdict:
    """The verdict.

    word  "vanishing in time"; tone: how grave, for colours: a severity, "healthy" or "open"
    said  one or two sentences
    code, where  of the gravest finding; empty where there is none
    """

    word: str
    tone: str
    said: str
    code: str = ""
    where: str = ""


@dataclass(frozen=True)
class Where:
    """One place of a finding, with the evidence as (what, value)."""

    where: str
    summary: str
    evidence: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Found:
    """All findings of one kind, in words.

    more      places that are not listed
    remedies  name and what it does
    """

    code: str
    name: str
    severity: str
    places: tuple[Where, ...]
    more: int
    remedies: tuple[tuple[str, str], ...]


def told(story: Story) -> dict[str, Any]:
    """Everything that the templates ask for."""
    lesson = taught(story.trained) if story.trained else None
    verdict, subject = _verdict(story), _subject(story, lesson)
    return {
        "title": f"{verdict.word}: {brief(subject, 80)} · longreach",
        "subject": subject,
        "verdict": verdict,
        "findings": _findings(story.diagnosis),
        "layers": _layers(story.diagnosis),
        "run": run_facts(story),
        "lesson": lesson,
    }


def _subject(story: Story, lesson: Taught | None) -> str:
    """What the page is about: the script, or the data that were learned, or the folder."""
    script = story.diagnosis.record.run.get("script") if story.diagnosis else None
    return str(script) if script and not lesson else story.name


def _verdict(story: Story) -> Verdict:
    if story.diagnosis is None:
        said = "Nothing could be judged yet." if story.going else "Nothing was found that can be judged."
        return Verdict("nothing to judge", "open", said)
    gravest = story.diagnosis.gravest
    if gravest is None:
        word, said = without_finding(story.diagnosis)
        return Verdict(word, "healthy" if word == HEALTHY else "open", said)
    return Verdict(heading(gravest.name), gravest.severity, gravest.summary, gravest.code, gravest.where)


def _findings(diagnosis: Diagnosis | None) -> list[Found]:
    kinds: dict[str, list[Finding]] = {}
    for finding in sorted(diagnosis.findings, key=lambda finding: finding.gravity) if diagnosis else ():
        kinds.setdefault(finding.code, []).append(finding)
    return [_found(same) for same in kinds.values()]


def _found(same: list[Finding]) -> Found:
    first = same[0]
    places = tuple(
        Where(one.where, one.summary, tuple((key.replace("_", " "), value) for key, value in one.evidence.items()))
        for one in same[:MOST]
    )
    remedies = tuple((name, REMEDIES.get(name, "")) for name in first.remedies)
    return Found(first.code, heading(first.name), first.severity, places, len(same) - len(places), remedies)


def _layers(diagnosis: Diagnosis | None) -> list[dict[str, Any]]:
    """A row for each layer and direction: heading -> value; "?" is what could not be measured."""
    return [_layer(place) for place in gravest_first(diagnosis)] if diagnosis else []


def _layer(place: Place) -> dict[str, Any]:
    layer, reach, need = place.layer, place.layer.reach, asked(place.layer)
    found = f"{place.finding.code} {heading(place.finding.name)}" if place.finding else layer.blind or ""
    return {
        "layer": place.name,
        "kind": layer.kind,
        "units": layer.hidden,
        "reach, steps": reach.lag if reach else "?",
        "need, steps": need.lag if need else "?",
        "of steps": reach.horizon if reach else "?",
        "growth, nats per step": reach.growth if reach else "?",
        "least need seen": percent(need.detectable) if need else "?",
        "finding": found,
    }
