"""How many units can no longer change what they say: dead ones, saturated ones."""

import math
from itertools import chain

from longreach.diagnosis.wording import percent
from longreach.history import Track
from longreach.report.page.figure import Figure
from longreach.report.page.figures.axes import Trace, curve, lost, many, once, panels, title
from longreach.report.page.figures.text import cut, shown
from longreach.report.page.figures.thin import envelope
from longreach.story import Story

MOST, COLUMNS = 8, 30  # activations that are drawn; of each, two points for so many columns
KINDS = ("dead", "saturated")


def units(story: Story) -> tuple[Figure, ...]:
    """Share of dead and of saturated units over the run, in two panels: a line for each activation.

    Drawn   at most 8 activations, those with most such units at some time; of more than 60 samples the extremes
    """
    dead, saturated = ({track.name: track for track in of} for of in (story.history.dead, story.history.saturated))
    most = {name: max(map(_highest, _both(name, dead, saturated))) for name in {**dead, **saturated}}
    names = sorted(most, key=lambda name: -most[name])[:MOST]
    if not names:
        return ()
    layout = panels("training step", 1.0, 1.0, gap=0.1)
    layout["height"] = 400
    traces: list[Trace] = []
    for axis, kind, tracks in zip(("y", "y2"), KINDS, (dead, saturated), strict=True):
        layout["yaxis" + axis[1:]] |= {
            "title": title(kind),
            "range": [-0.04, 1.04],
            "tickformat": ".0%",
            "nticks": 3,
        }
        for place, name in enumerate(names):
            if name in tracks:
                traces += _line(tracks[name], place, kind, axis)
    return (
        Figure(
            name="units",
            title="Dead and saturated units" + (f" ({MOST} of {len(most)} activations)" if len(most) > MOST else ""),
            look=_look(dead, saturated),
            said=_said(names, dead, saturated),
            traces=once(traces),
            layout=layout,
            columns=("training step", "activation", "what", "share of its units"),
            rows=[
                (step, cut(name), kind, share)
                for kind, tracks in zip(KINDS, (dead, saturated), strict=True)
                for name in names
                if name in tracks
                for step, share in _points(tracks[name])
            ],
        ),
    )


def _both(name: str, *kinds: dict[str, Track]) -> list[Track]:
    return [tracks[name] for tracks in kinds if name in tracks]


def _highest(track: Track) -> float:
    """Of what is not a number nothing is known, so it is shown."""
    return max((math.inf if math.isnan(value) else value for value in track.values), default=-math.inf)


def _points(track: Track) -> list[tuple[int, float]]:
    return [(track.steps[at], track.values[at]) for at in envelope(track.steps, track.values, COLUMNS)]


def _line(track: Track, place: int, kind: str, axis: str) -> list[Trace]:
    steps, shares = ([point[at] for point in _points(track)] for at in (0, 1))
    name = shown(track.name)
    line = curve(name, "many", steps, shares, axis, **many(place), hovertemplate=f"%{{y:.1%}} {kind}")
    line = line if len(steps) > 1 else {**line, "mode": "markers"}
    return [line, *lost(name, steps, shares, (0.0, 1.0), axis)]


def _look(dead: dict[str, Track], saturated: dict[str, Track]) -> str:
    said = []
    for kind, tracks in zip(KINDS, (dead, saturated), strict=True):
        ends = [(track.values[-1], track.name) for track in tracks.values() if track.values]
        if not ends:
            continue
        share, name = max(ends, key=lambda end: math.inf if math.isnan(end[0]) else end[0])
        said.append(f"at most {percent(share)} are {kind} (in {cut(name)})" if share else f"none is {kind}")
    return (
        f"Of the units of an activation, at the end of the run {' and '.join(said)}." if said else "Nothing was seen."
    )


def _said(names: list[str], dead: dict[str, Track], saturated: dict[str, Track]) -> str:
    said = []
    for name in names:
        for kind, track in zip(KINDS, (dead.get(name), saturated.get(name)), strict=True):
            if track and track.values:
                first, last = percent(track.values[0]), percent(track.values[-1])
                said.append(f"{cut(name)}: {first} {kind} at first, {last} at last")
    return f"Two panels over the training step, from 0 to 100%. {'; '.join(chain(said))}. {_look(dead, saturated)}"
