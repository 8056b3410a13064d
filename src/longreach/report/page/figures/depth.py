"""How much of a gradient is left from layer to layer, at the start of the run and late in it."""

import math
from itertools import count

from longreach.diagnosis.vanishing_in_depth import LEFT
from longreach.diagnosis.wording import counted, factor, percent
from longreach.quantities.depth import Depth
from longreach.report.page.figure import Figure
from longreach.report.page.figures.axes import curve, level, lost, once, panels, power, scaled, title
from longreach.report.page.figures.text import cut, shown
from longreach.report.page.figures.thin import evenly
from longreach.story import Story

MOST, MOST_LAYERS = 3, 100


def depth(story: Story) -> tuple[Figure, ...]:
    """Gain over depth, the highest layer on the left: one drawing for each network with at least three layers, or tree.

    Drawn   at most 3 networks, the deepest first; of more than 100 layers, evenly spaced ones
    Axes    logarithmic where gain spans more than a power of ten
    """
    if story.diagnosis is None:
        return ()
    found = [one for one in story.diagnosis.record.depth if len(one.layers) > 1]
    found.sort(key=lambda one: -one.steps)
    return tuple(_draw(one, number) for number, one in enumerate(found[:MOST]))


def _draw(found: Depth, number: int) -> Figure:
    hops = found.axis == "hops"
    # a damaged file may hold curves of unlike lengths
    rows = evenly(list(zip(count(), found.layers, found.at_start, found.log_gain, strict=False)), MOST_LAYERS)
    places, names = [place for place, *_ in rows], [name for _, name, *_ in rows]
    start, late = [ln for *_, ln, _ in rows], [ln for *_, ln in rows]
    layout = panels("hops from the root" if hops else "layers below the highest", 1.0)
    axis = layout["yaxis"]
    axis["title"] = title("gain")
    ends = scaled(axis, [power(ln) for ln in (*start, *late)])
    layout["height"] = 320
    layout["xaxis"] |= {"dtick": max(1, math.ceil(found.steps / 6)), "zeroline": False}
    told = [f"hop {place}" if hops else shown(name) for place, name in zip(places, names, strict=True)]
    at = {"text": told, "hovertemplate": "%{y:.3~g} (%{text})", "mode": "lines+markers"}
    thick, thin = {"width": 3}, {"width": 1.5, "dash": "dot"}
    traces = [
        curve("at the start", "beside", places, [power(ln) for ln in start], line=thin, **at, marker={"symbol": "x"}),
        curve("late in the run", "main", places, [power(ln) for ln in late], line=thick, **at),
        *lost("at the start", places, start, ends, nothing="0: nothing is left"),
        *lost("late in the run", places, late, ends, nothing="0: nothing is left"),
    ]
    if axis["type"] == "log" and ends[0] < math.exp(LEFT) < ends[1]:
        level(layout, f"{percent(math.exp(LEFT))}: vanishing", math.exp(LEFT))
    return Figure(
        name="depth" + (f"-{number + 1}" if number else ""),
        title=f"Gain over depth: {cut(found.module)}",
        look=_look(found, start, late),
        said=_said(found, names, start, late),
        traces=once(traces),
        layout=layout,
        columns=("place", "hop" if hops else "layer", "log10 of gain at the start", "log10 of gain late in the run"),
        rows=[(place, cut(name), a / math.log(10), b / math.log(10)) for place, name, a, b in rows],
    )


def _look(found: Depth, start: list[float], late: list[float]) -> str:
    noun = "hop" if found.axis == "hops" else "layer"
    if not late:
        return "Nothing was measured."
    then = "" if factor(start[-1]) == factor(late[-1]) else f"; at the start {factor(start[-1])}"
    return f"Of a gradient at the top, {factor(late[-1])} is left {counted(found.steps, noun)} below{then}."


def _said(found: Depth, names: list[str], start: list[float], late: list[float]) -> str:
    ends = f", from {cut(names[0])} to {cut(names[-1])}" if names and found.axis != "hops" else ""
    return f"Two curves of gain over {counted(len(names), 'place')}{ends}. {_look(found, start, late)}"
