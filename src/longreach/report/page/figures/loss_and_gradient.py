"""How training went: the loss, the norm of the gradient, and everything that happened on the way."""

import math
from collections.abc import Iterable
from itertools import chain
from typing import Any

from longreach.diagnosis.wording import counted, percent
from longreach.history import History, Mark, Track
from longreach.quantities.clipping import OWN
from longreach.quantities.gradients import ALIKE
from longreach.report.page.figure import Figure
from longreach.report.page.figures.axes import (
    LARGEST,
    Trace,
    curve,
    level,
    lost,
    many,
    marks,
    once,
    panels,
    scaled,
    title,
)
from longreach.report.page.figures.text import cut, shown
from longreach.report.page.figures.thin import envelope, evenly
from longreach.story import Story

SYMBOLS = {"spike": "triangle-up-open", "skipped": "x-thin-open", "went back": "triangle-left", "NaN or infinity": "x"}
OTHER = "diamond-open"
MOST_MARKS, MOST_KINDS, MOST_SCORES = 100, 6, 4
LONGEST = 120  # characters of what is said of an event


def loss_and_gradient(story: Story) -> tuple[Figure, ...]:
    """Loss, validation scores and gradient norm over training steps, one below the other, with every event.

    Axes    logarithmic where the values are positive and span more than a power of ten
    Points  over more than 1,800 the extremes of each column, so that spikes stay; 100 events of each kind
    Gaps    what is NaN or infinite is no point of a line: marks at the edge of the panel tell of it
    """
    course = story.history
    beside, own = _scores_of(story)
    parts = [
        (1.5, _losses, course.losses.steps or beside),
        (1.0, _scores, own),
        (1.0, _norms, course.before.steps),
    ]
    parts = [(share, draw) for share, draw, there in parts if there]
    if not parts:
        return ()
    layout = panels("training step", *(share for share, _ in parts), gap=0.08)
    layout["height"] = 120 + 170 * len(parts)
    drawn = [draw(story, layout, axis) for axis, (_, draw) in zip(("y", "y2", "y3"), parts, strict=False)]
    traces = [*chain.from_iterable(drawn), *_events(course, layout)]
    return (
        Figure(
            name="loss-and-gradient",
            title="Loss and gradient over training",
            look=_look(story),
            said=_said(course),
            traces=once(traces),
            layout=layout,
            columns=("training step", "what", "value"),
            rows=_rows(course, (*beside, *own)),
        ),
    )


def _scores_of(story: Story) -> tuple[list[Track], list[Track]]:
    """What validation measured: losses, to be drawn beside that of the run, and other scores."""
    scores = [track for track in (story.trained.validation if story.trained else ()) if track.steps][:MOST_SCORES]
    name = story.history.losses.name
    return [score for score in scores if score.name == name], [score for score in scores if score.name != name]


def _thinned(track: Track) -> Track:
    kept = envelope(track.steps, track.values)
    return Track.of(track.name, ((track.steps[at], track.values[at]) for at in kept))


def _losses(story: Story, layout: dict[str, Any], name: str) -> list[Trace]:
    losses, (beside, _) = story.history.losses, _scores_of(story)
    axis = layout["yaxis" + name[1:]]
    axis["title"] = title("loss")
    ends = scaled(axis, [value for track in (losses, *beside) for value in track.values])
    traces = _drawn(losses, "loss", "main", ends, name, line={"width": 1.5}, showlegend=False)
    for track in beside:
        traces += _drawn(track, "validation loss", "beside", ends, name, line={"width": 2.5, "dash": "dash"})
    return traces


def _scores(story: Story, layout: dict[str, Any], name: str) -> list[Trace]:
    _, scores = _scores_of(story)
    axis = layout["yaxis" + name[1:]]
    axis["title"] = title("validation")
    ends = scaled(axis, [value for track in scores for value in track.values])
    drawn = (_drawn(track, shown(track.name), "many", ends, name, **many(place)) for place, track in enumerate(scores))
    return [*chain.from_iterable(drawn)]


def _norms(story: Story, layout: dict[str, Any], name: str) -> list[Trace]:
    """The gradient as it came back and, where that differs, as it was used; the limit of clipping."""
    course = story.history
    axis = layout["yaxis" + name[1:]]
    axis["title"] = title("gradient norm")
    limit = _limit(story)
    used = _used(course)
    limits = [limit] if limit is not None else [value for value in course.limit.values if value > 0]
    ends = scaled(axis, [*course.before.values, *used.values, *limits])
    traces = _drawn(course.before, "gradient", "main", ends, name, line={"width": 1.5}, showlegend=False)
    if used.steps:
        style = {"width": 1.5, "dash": "dot"}
        traces += _drawn(used, "gradient as used", "beside", ends, name, line=style)
    if limit is not None:
        level(layout, f"clipped at {limit:.3g}", limit, name)
    elif course.limit.steps:
        style = {"width": 1.5, "dash": "dash"}
        traces += _drawn(course.limit, "limit", "quiet", ends, name, line=style)
    return traces


def _limit(story: Story) -> float | None:
    """The norm at which gradients are clipped, where it was the same all along."""
    limits = set(story.history.limit.values)
    if len(limits) == 1 and math.isfinite(limit := next(iter(limits))) and limit > 0:
        return limit
    found = story.diagnosis.record.clipping if story.diagnosis else None
    return found.limit if found and found.by == OWN and not limits and 0 < found.limit < math.inf else None


def _used(course: History) -> Track:
    """The norm as used, of the steps in which it is not what came back: NaN there means that nobody looked."""
    pairs = list(zip(course.after.steps, course.after.values, course.before.values, strict=False))
    differ = any(abs(after - before) > ALIKE * abs(before) for _, after, before in pairs)
    seen = ((step, after) for step, after, _ in pairs if not math.isnan(after))
    return Track.of(course.after.name, seen if differ else ())


def _drawn(track: Track, name: str, role: str, ends: tuple[float, float], axis: str, **style: Any) -> list[Trace]:
    track = _thinned(track)
    if len(track.steps) == 1:
        style |= {"mode": "markers"}
    return [
        curve(name, role, track.steps, track.values, axis, **style),
        *lost(name, track.steps, track.values, ends, axis),
    ]


def _events(course: History, layout: dict[str, Any]) -> list[Trace]:
    """What happened, at the head of the highest panel; pointed at, a mark says what exactly."""
    if not course.marks:
        return []
    axis = layout["yaxis"]
    low, high = axis["range"]
    room = 0.06 * (high - low)
    axis["range"] = [low, high + 2 * room]
    head = 10.0 ** min(LARGEST, high + room) if axis["type"] == "log" else high + room
    kinds: dict[str, list[Mark]] = {}
    for mark in course.marks:
        kinds.setdefault(mark.what, []).append(mark)
    traces = []
    for what, found in list(kinds.items())[:MOST_KINDS]:
        kept = evenly(found, MOST_MARKS)
        told = [shown(f"{mark.what}: {mark.text}", LONGEST) for mark in kept]
        role = "broken" if what == "NaN or infinity" else "event"
        symbol, steps = SYMBOLS.get(what, OTHER), [mark.step for mark in kept]
        style = {"text": told, "hovertemplate": "%{text}"}
        name = shown(f"{what} ({len(found)})")
        traces.append(marks(name, role, steps, [head] * len(kept), symbol, **style))
    return traces


def _look(story: Story) -> str:
    course = story.history
    said = [_loss_said(course)] if course.losses.steps else []
    limit, clipping = _limit(story), story.diagnosis.record.clipping if story.diagnosis else None
    if limit is not None and clipping is not None:
        said.append(f"clipping at {limit:.3g} binds in {percent(clipping.bound)} of the steps")
    counts: dict[str, int] = {}
    for mark in course.marks:
        counts[mark.what] = counts.get(mark.what, 0) + 1
    said += [f"{cut(what)}: {count}" for what, count in list(counts.items())[:MOST_KINDS]]
    text = "; ".join(said) or "What was measured of the gradient"
    return text[0].upper() + text[1:] + "."


def _loss_said(course: History) -> str:
    values = course.losses.values
    broken = sum(not math.isfinite(value) for value in values)
    text = f"the loss goes from {values[0]:.3g} to {values[-1]:.3g} in {counted(course.losses.steps[-1] + 1, 'step')}"
    return text.replace("nan", "NaN") + (f", {broken} of {len(values)} values are not finite" if broken else "")


def _said(course: History) -> str:
    said = ["Curves over the training step."]
    for what, track in (("loss", course.losses), ("norm of the gradient", course.before)):
        finite = [(value, step) for step, value in zip(track.steps, track.values, strict=True) if math.isfinite(value)]
        if finite:
            (least, at), (most, there) = min(finite), max(finite)
            said.append(f"The {what} lies between {least:.3g}, at step {at}, and {most:.3g}, at step {there}.")
    said += [f"Step {mark.step}: {cut(mark.what)}: {cut(mark.text, LONGEST)}." for mark in evenly(course.marks, 10)]
    return " ".join(said)


def _rows(course: History, scores: Iterable[Track]) -> list[tuple[int, str, float | None]]:
    """What is drawn: of long runs the extremes of each column of pixels."""
    named = [("loss", course.losses), ("gradient norm", course.before), ("gradient norm as used", _used(course))]
    named += [("limit of clipping", course.limit), *((f"validation: {cut(score.name)}", score) for score in scores)]
    rows = [(s, what, v) for what, track in named for s, v in _points(_thinned(track))]
    told = (
        (mark.step, cut(f"{mark.what}: {mark.text}", LONGEST), None) for mark in evenly(course.marks, 2 * MOST_MARKS)
    )
    return [*rows, *told]


def _points(track: Track) -> Iterable[tuple[int, float]]:
    return zip(track.steps, track.values, strict=True)
