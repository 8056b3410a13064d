"""A run in a few words and two small curves, for the page that shows many."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longreach.diagnosis.stacks import asked
from longreach.folder import LOCK
from longreach.probes.reach import THRESHOLD
from longreach.report.page.facts import told
from longreach.report.places import gravest_first
from longreach.story import Story
from longreach.view.found import Found
from longreach.view.sparkline import POINTS, thinned

LEVEL = math.log(THRESHOLD)  # ln gain at which reach ends


@dataclass(frozen=True)
class Curve:
    """Points of a curve: steps of training and loss, or lags and ln gain."""

    xs: tuple[float, ...] = ()
    ys: tuple[float, ...] = ()


@dataclass(frozen=True)
class Card:
    """What is told of one run among many.

    state        "going on", "over", "failed" (the exit code was not 0), or "stopped": killed, and can be gone on with
    word, tone   the verdict, and how grave it is: a severity, "healthy" or "open"
    layer        the one that the verdict is about, or the first
    reach, need, horizon  of that layer, steps; need: a number, "none", or "?" where it could not be tested
    steps        training steps taken
    loss         the last one; NaN where the loss is NaN; None where there is none
    losses, gain curves: over training steps, and over the lag of that layer
    command      what was run, with its arguments; of a training, what was learned
    proven       of a trial: what helped, in a sentence
    missing      what could not be read
    """

    state: str
    command: str
    word: str
    tone: str
    layer: str = ""
    reach: int | None = None
    need: str = "?"
    horizon: int | None = None
    steps: int = 0
    loss: float | None = None
    losses: Curve = Curve()
    gain: Curve = Curve()
    proven: str = ""
    missing: tuple[str, ...] = ()


def card_of(story: Story, run: Found) -> Card:
    """The card of a run."""
    words = told(story)
    verdict = words["verdict"]
    losses = story.history.losses
    return Card(
        state=_state(story, run),
        command=_command(story),
        word=verdict.word,
        tone=verdict.tone,
        steps=_steps(story),
        loss=losses.values[-1] if losses.values else None,
        losses=few(losses.steps, losses.values),
        proven=story.proof.sentence if story.proof else "",
        missing=story.missing,
        **_memory(story),
    )


def _state(story: Story, run: Found) -> str:
    """A run is stopped where its process is gone without a word; it failed where its script did."""
    if story.going:
        return "going on"
    if story.trained:
        return "over" if story.trained.outcome else "stopped"
    if run.kind == "trial":
        return "over" if story.proof else "stopped"
    if (run.path / LOCK).exists():
        return "stopped"
    return "failed" if story.diagnosis and story.diagnosis.record.run.get("exit") else "over"


def _command(story: Story) -> str:
    """What tells a run from others of the same script."""
    if story.trained:
        plan = story.trained.plan
        places = ("kind",), ("source", "name"), ("source", "file"), ("source", "path"), ("source", "length")
        network = ("plan", "architecture", "cell"), ("plan", "architecture", "hidden")
        told = (_at(plan, place) for place in (*places, *network))
        return " ".join(["train", *(Path(str(one)).name for one in told if isinstance(one, str | int))])
    run = story.diagnosis.record.run if story.diagnosis else {}
    script, arguments = run.get("script"), run.get("argv")
    if not isinstance(script, str) or not isinstance(arguments, list):
        return ""
    return shlex.join([Path(script).name, *map(str, arguments)])


def _at(value: Any, place: tuple[str, ...]) -> Any:
    """What stands there in nested dicts; None where nothing does."""
    for name in place:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _steps(story: Story) -> int:
    seen = story.history.losses.steps[-1:]
    return max(story.diagnosis.record.steps if story.diagnosis else 0, seen[0] + 1 if seen else 0)


def _memory(story: Story) -> dict:
    """Reach and need of the layer that the verdict is about; while nothing is judged, what was measured last."""
    places = gravest_first(story.diagnosis) if story.diagnosis else []
    if places and (reach := places[0].layer.reach):
        need = asked(places[0].layer)
        return {
            "layer": places[0].name,
            "reach": reach.lag,
            "need": "?" if need is None else "none" if need.lag is None else f"{need.lag:,}",
            "horizon": reach.horizon,
            "gain": few(reach.lags, reach.log_gain),
        }
    for track in story.history.reach[:1]:
        return {
            "layer": track.layer.module,
            "reach": track.reach[-1],
            "horizon": track.lags[-1][-1],
            "gain": few(track.lags[-1], track.log_gain[-1]),
        }
    return {}


def few(xs: Sequence[float], ys: Sequence[float], most: int = POINTS) -> Curve:
    """As many points as a picture shows: a card is kept, a story is not."""
    points = thinned(xs, ys, most)
    return Curve(tuple(x for x, _ in points), tuple(y for _, y in points))
