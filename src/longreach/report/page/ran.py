"""What was run, and what watching it cost, as labels with text."""

import math
import shlex
from datetime import UTC, datetime
from typing import Any

from longreach.diagnosis.wording import percent
from longreach.record import Record
from longreach.report.places import gravest_first
from longreach.report.sentences import deep_tested, duration, lost, ran, remembered, tested
from longreach.story import Story


def run_facts(story: Story) -> list[tuple[str, str]]:
    """Script, arguments, versions, times, seeds, and the small print of the measurement: (label, text)."""
    record = story.diagnosis.record if story.diagnosis else None
    facts = [("folder", story.name), *(_command(record.run) if record else ())]
    facts += [("data", _data(story)), ("seeds", _seeds(story))]
    if record is not None:
        facts += _measured(record)
    if story.diagnosis is not None:
        facts += _small_print(story)
    return [(label, text) for label, text in facts if text]


def _command(run: dict[str, Any]) -> list[tuple[str, str]]:
    arguments, versions = run.get("argv"), run.get("versions")
    return [
        ("script", str(run.get("script") or "")),
        ("arguments", shlex.join(map(str, arguments)) if isinstance(arguments, list) else ""),
        ("versions", ", ".join(f"{name} {of}" for name, of in versions.items()) if isinstance(versions, dict) else ""),
        ("began", _moment(run.get("start"))),
        ("ended", _moment(run.get("ended") or run.get("end"))),
        ("exit code", "" if run.get("exit") is None else str(run["exit"])),
    ]


def _moment(seconds: Any) -> str:
    """A time since 1970, in UTC; nothing where it is none."""
    if not isinstance(seconds, (int, float)) or not math.isfinite(seconds) or not 0 < seconds < 4e9:
        return ""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _data(story: Story) -> str:
    """What a training has learned from: "task: name=adding, length=100"."""
    kind, source = (story.trained.plan.get(name) if story.trained else None for name in ("kind", "source"))
    if not isinstance(kind, str) or not isinstance(source, dict):
        return ""
    given = (f"{name}={value}" for name, value in source.items() if value not in (None, "", [], False))
    return f"{kind}: {', '.join(given)}"


def _seeds(story: Story) -> str:
    if story.proof is not None:
        return ", ".join(str(run.seed) for run in story.proof.control.outcomes)
    sizes = story.trained.plan.get("plan", {}) if story.trained else {}
    sizes = sizes.get("sizes") if isinstance(sizes, dict) else None
    return str(sizes.get("seed", "")) if isinstance(sizes, dict) else ""


def _measured(record: Record) -> list[tuple[str, str]]:
    return [
        ("run", ran(record)),
        ("loss", lost(record.loss) if record.loss and record.loss.values else ""),
        ("watching", f"{percent(record.overhead)} of the time, {duration(record.overhead * record.seconds)}"),
    ]


def _small_print(story: Story) -> list[tuple[str, str]]:
    """Of the layer that is told of first, as in the terminal."""
    places = gravest_first(story.diagnosis) if story.diagnosis else []
    if not places:
        return []
    layer = places[0].layer
    return [
        ("need tested on", tested(layer.need) if layer.need else ""),
        ("deep test", deep_tested(layer.deep) if layer.deep else ""),
        ("memory", remembered(layer.memory) if layer.memory else ""),
    ]
