"""How far a step moves each matrix of weights, against its size."""

import math
from typing import Any

from longreach.diagnosis.step_size import LEAP, STILL
from longreach.diagnosis.wording import percent
from longreach.history import Track
from longreach.quantities.updates import middle
from longreach.report.page.figure import Figure
from longreach.report.page.figures.axes import Trace, curve, lost, many, once, panels, power, scaled, title
from longreach.report.page.figures.text import cut, shown
from longreach.report.page.figures.thin import envelope
from longreach.story import Story

MOST, COLUMNS = 8, 40  # matrices that are drawn; of each, two points for so many columns


def updates(story: Story) -> tuple[Figure, ...]:
    """‖Δw‖ / ‖w‖ of a step over the run, a line for each matrix of weights, and the band of usual steps.

    Band    up to the leap that the rule of step sizes (LR503) takes for too large. Down to the step that, were every
            step of the run as large and in one direction, would move a matrix just as far as that rule asks for
    Drawn   at most 8 matrices, those furthest from the middle of the band; of more than 80 samples the extremes
    """
    found = [track for track in story.history.updates if track.steps]
    if not found:
        return ()
    last = max(track.steps[-1] for track in found)
    band = lowest(max(last + 1, story.diagnosis.record.steps if story.diagnosis else 0)), LEAP
    furthest = sorted(found, key=lambda track: -_distance(track, band))[:MOST]
    drawn = [_thinned(track) for track in found if any(track is one for one in furthest)]
    layout = panels("training step", 1.0)
    traces = _lines(drawn, band, layout)
    return (
        Figure(
            name="updates",
            title="How far a step moves the weights"
            + (f" ({MOST} of {len(found)} matrices)" if len(found) > MOST else ""),
            look=_look(found, band),
            said=_said(drawn, band),
            traces=traces,
            layout=layout,
            columns=("training step", "matrix of weights", "norm of its update / its norm"),
            rows=[(s, cut(track.name), v) for track in drawn for s, v in zip(track.steps, track.values, strict=True)],
        ),
    )


def lowest(steps: int) -> float:
    """The ratio below which no run of so many steps moves a matrix as far as LR503 asks for."""
    return min(STILL / max(1, steps), LEAP / 10)


def _distance(track: Track, band: tuple[float, float]) -> float:
    """From the middle of the band, in nats; what is not a number or does not move is furthest."""
    value = middle(track.values)
    return abs(math.log(value / math.sqrt(band[0] * band[1]))) if 0 < value < math.inf else math.inf


def _thinned(track: Track) -> Track:
    kept = envelope(track.steps, track.values, COLUMNS)
    return Track.of(track.name, ((track.steps[at], track.values[at]) for at in kept))


def _lines(drawn: list[Track], band: tuple[float, float], layout: dict[str, Any]) -> list[Trace]:
    """On a logarithmic axis, where 0 has no place: marks at its foot tell of what was not moved."""
    moving = [value for track in drawn for value in track.values if 0 < value < math.inf]
    ends = scaled(layout["yaxis"], [*moving, band[0] / 3, band[1] * 3])
    layout["yaxis"]["title"] = title("update / weight")
    layout["height"] = 400
    across = {"xref": "paper", "x0": 0, "x1": 1, "y0": band[0], "y1": band[1], "line": {"width": 0}, "layer": "below"}
    layout["shapes"] = [{"type": "rect", "name": "quiet", **across}]
    traces: list[Trace] = []
    for place, track in enumerate(drawn):
        name, logs = (
            shown(track.name),
            [math.log(value) if value > 0 else -math.inf if value == 0 else value for value in track.values],
        )
        line = curve(name, "many", track.steps, [power(log) for log in logs], **many(place))
        traces.append(line if len(logs) > 1 else {**line, "mode": "markers"})
        traces += lost(name, track.steps, logs, ends, nothing="0, not moved")
    return once(traces)


def _look(found: list[Track], band: tuple[float, float]) -> str:
    ratios = [middle(track.values) for track in found]
    inside = sum(band[0] <= ratio <= band[1] for ratio in ratios)
    least, most = (pick((ratio for ratio in ratios if not math.isnan(ratio)), default=math.nan) for pick in (min, max))
    by = percent(least) if percent(least) == percent(most) else f"{percent(least)} to {percent(most)}"
    return (
        f"In the median over the run a step moves the matrices by {by} of their size; {inside} of {len(found)} lie "
        f"within the band from {percent(band[0])} to {percent(band[1])}."
    )


def _said(drawn: list[Track], band: tuple[float, float]) -> str:
    each = [
        f"{cut(track.name)}: {percent(track.values[0])} at first, {percent(track.values[-1])} at last"
        for track in drawn
    ]
    return f"Lines over the training step on a logarithmic axis. {'; '.join(each)}. {_look(drawn, band)}"
