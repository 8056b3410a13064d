"""What the figures' axes have in common: panels above each other over one axis, ranges, and what has no place there."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

Trace = dict[str, Any]

LARGEST = 300.0  # powers of ten: beyond, no axis can show a number
DECADES = 1.0  # values that span more are drawn on a logarithmic axis
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
LEGEND = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "tracegroupgap": 0}
HOVER = {"hovermode": "x unified", "hoversubplots": "axis", "hoverlabel": {"namelength": -1}}


def panels(title: str, *shares: float, top: float = 1.0, gap: float = 0.1) -> dict[str, Any]:
    """A layout of panels, the highest first, that share one x axis with this title.

    shares  of the height, up to any factor
    top     where the highest ends, as a share of the drawing
    """
    room = top - gap * (len(shares) - 1)
    layout: dict[str, Any] = {**HOVER, "legend": LEGEND}
    ends = top
    for number, share in enumerate(shares):
        begins = ends - room * share / sum(shares)
        layout[f"yaxis{number + 1 if number else ''}"] = {"domain": [max(0.0, begins), ends]}
        ends = begins - gap
    lowest = f"y{len(shares)}" if len(shares) > 1 else "y"
    pointed_at = {"text": title.partition(" (")[0] + " %{x}"}
    layout["xaxis"] = {"title": {"text": title}, "anchor": lowest, "unifiedhovertitle": pointed_at}
    return layout


def title(text: str) -> dict[str, Any]:
    """Of a vertical axis: some pixels away from its numbers."""
    return {"text": text, "standoff": 8}


def power(ln: float) -> float:
    """exp(ln), as near as a logarithmic axis can show it; NaN for what is no number on it."""
    return 10.0 ** min(LARGEST, max(-LARGEST, ln / math.log(10))) if math.isfinite(ln) else math.nan


def spans_decades(values: Iterable[float]) -> bool:
    """Whether a logarithmic axis can show these values, and shows them better."""
    found = [value for value in values if math.isfinite(value)]
    return bool(found) and min(found) > 0 and math.log10(max(found)) - math.log10(min(found)) > DECADES


def scaled(axis: dict[str, Any], values: Iterable[float], *, zero: bool = False) -> tuple[float, float]:
    """Give an axis the range of these values, logarithmic where that shows them better; the values at its ends.

    zero  whether 0 belongs to it
    """
    found = [min(1e300, max(-1e300, value)) for value in values if math.isfinite(value)] or [0.0, 1.0]
    if not zero and spans_decades(found):
        low, high = math.log10(min(found)), math.log10(max(found))
        room = 0.05 * (high - low)
        ends = max(-LARGEST, low - room), min(LARGEST, high + room)
        axis |= {"type": "log", "range": list(ends), "exponentformat": "power"}
        axis["dtick"] = "D2" if high - low < 2 else math.ceil((high - low) / 5)  # D2: 1, 2, 5, 10
        return 10.0 ** ends[0], 10.0 ** ends[1]
    low, high = min(found + [0.0] * zero), max(found + [0.0] * zero)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    ends = (low if zero and low == 0 else low - room), high + room
    axis |= {"type": "linear", "range": list(ends), "nticks": 5}
    return ends


def curve(name: str, role: str, xs: Sequence[Any], ys: Sequence[float], axis: str = "y", **style: Any) -> Trace:
    """A line; what is not finite is a gap in it. Without a point it is one gap: a panel without a trace is no panel."""
    drawn = [value if math.isfinite(value) else None for value in ys] or [None]
    along = list(xs) or [None]
    trace = {"type": "scatter", "mode": "lines", "name": name, "meta": {"role": role}, "x": along, "y": drawn}
    return {**trace, "yaxis": axis, "hovertemplate": "%{y:.3~g}", **style}


def many(place: int) -> dict[str, Any]:
    """Of several curves of equal rank the style of one: a colour of its own by `place`, and a dash."""
    return {"meta": {"role": "many", "place": place}, "line": {"width": 2, "dash": DASHES[place % len(DASHES)]}}


LOST = (  # what it is, how it is told, its symbol, at which end of the axis it is drawn
    (math.isnan, "NaN", "x", 0),
    (lambda value: value == -math.inf, "-infinity", "triangle-down", 0),
    (lambda value: value == math.inf, "infinity", "triangle-up", 1),
)


def lost(
    what: str, xs: Sequence[Any], values: Sequence[float], ends: tuple[float, float], axis: str = "y", nothing: str = ""
) -> list[Trace]:
    """What has no place on the axis, as marks at its ends: NaN, infinities. Pointed at, they say `what` it is.

    ends     the values at the lower and upper end
    nothing  what -inf means, where values are logarithms
    """
    traces = []
    for is_lost, told, symbol, end in LOST:
        at = [x for x, value in zip(xs, values, strict=True) if is_lost(value)]
        name = nothing if nothing and told == "-infinity" else told
        if at:
            hover = {"text": what, "hovertemplate": f"%{{text}}: {name}<extra></extra>"}
            traces.append(marks(name, "broken", at, [ends[end]] * len(at), symbol, axis, **hover))
    return traces


def once(traces: Iterable[Trace]) -> list[Trace]:
    """The legend names each thing once, however many traces show it; a click there hides all of them."""
    named: set[str] = set()
    shown = []
    for trace in traces:
        again = trace["name"] in named
        named.add(trace["name"])
        shown.append({"legendgroup": trace["name"], **trace, **({"showlegend": False} if again else {})})
    return shown


def level(layout: dict[str, Any], text: str, value: float, axis: str = "y", dash: str = "dash") -> None:
    """A horizontal line to compare with, across a panel, and its label at the right end; adds them to the layout."""
    style = {"width": 1.5, "dash": dash}
    across = {"x0": 0, "x1": 1, "y0": value, "y1": value, "xref": "paper", "yref": axis}
    layout.setdefault("shapes", []).append({"type": "line", "name": "quiet", "layer": "below", "line": style, **across})
    is_log = layout["yaxis" + axis[1:]].get("type") == "log"  # there shapes stand at the value, labels at its logarithm
    at = {"x": 1, "y": math.log10(value) if is_log else value, "xref": "paper", "yref": axis}
    label = {"name": "quiet", "text": text, "showarrow": False, "xanchor": "right", "yanchor": "bottom"}
    layout.setdefault("annotations", []).append(label | at)


def marks(
    name: str, role: str, xs: Sequence[Any], ys: Sequence[Any], symbol: str, axis: str = "y", **style: Any
) -> Trace:
    """Points, which are not cut off at the edge of a panel."""
    trace = {"type": "scatter", "mode": "markers", "name": name, "meta": {"role": role}, "x": list(xs), "y": list(ys)}
    return {**trace, "yaxis": axis, "marker": {"symbol": symbol, "size": 9}, "cliponaxis": False, **style}
