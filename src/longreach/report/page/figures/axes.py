"""What the figures' axes have in common: panels above each other over one axis, ranges, and what has no place there."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

Trace = dict[str, Any]

LARGEST = 300.0  # powers of ten: beyond, no axis can show a number
DECADES = 1.5  # values that span more are drawn on a logarithmic axis
HOVER = {"hovermode": "x unified", "hoversubplots": "axis", "hoverlabel": {"namelength": -1}}


def panels(title: str, *shares: float, top: float = 1.0, gap: float = 0.1) -> dict[str, Any]:
    """A layout of panels, the highest first, that share one x axis with this title.

    shares  of the height, up to any factor
    top     where the highest ends, as a share of the drawing
    """
    room = top - gap * (len(shares) - 1)
    layout: dict[str, Any] = {**HOVER, "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"}}
    ends = top
    for number, share in enumerate(shares):
        begins = ends - room * share / sum(shares)
        layout[f"yaxis{number + 1 if number else ''}"] = {"domain": [max(0.0, begins), ends]}
        ends = begins - gap
    lowest = f"y{len(shares)}" if len(shares) > 1 else "y"
    layout["xaxis"] = {"title": {"text": title}, "anchor": lowest}
    return layout


def power(ln: float) -> float:
    """exp(ln), as near as a logarithmic axis can show it; NaN for what is no number on it."""
    return 10.0 ** min(LARGEST, max(-LARGEST, ln / math.log(10))) if math.isfinite(ln) else math.nan


def spans_decades(values: Iterable[float]) -> bool:
    """Whether a logarithmic axis can show these values, and shows them better."""
    found = [value for value in values if math.isfinite(value)]
    return bool(found) and min(found) > 0 and math.log10(max(found)) - math.log10(min(found)) > DECADES


def curve(name: str, role: str, xs: Sequence[Any], ys: Sequence[float], axis: str = "y", **style: Any) -> Trace:
    """A line; what is not finite is a gap in it."""
    drawn = [float(f"{value:.6g}") if math.isfinite(value) else None for value in ys]
    trace = {"type": "scatter", "mode": "lines", "name": name, "meta": {"role": role}, "x": list(xs), "y": drawn}
    return {**trace, "yaxis": axis, "hovertemplate": "%{y:.3~g}", **style}


LOST = (  # what it is, how it is told, its symbol, at which end of the axis it is drawn
    (math.isnan, "NaN", "x", 0),
    (lambda value: value == -math.inf, "-infinity", "triangle-down", 0),
    (lambda value: value == math.inf, "infinity", "triangle-up", 1),
)


def lost(
    what: str, xs: Sequence[Any], values: Sequence[float], ends: tuple[float, float], axis: str = "y", nothing: str = ""
) -> list[Trace]:
    """What has no place on the axis, as marks at its ends: NaN, infinities.

    ends     the values at the lower and upper end
    nothing  what -inf means, where values are logarithms
    """
    traces = []
    for is_lost, told, symbol, end in LOST:
        at = [x for x, value in zip(xs, values, strict=True) if is_lost(value)]
        told = nothing if nothing and told == "-infinity" else f"{what}: {told}"
        if at:
            traces.append(marks(told, "broken", at, [ends[end]] * len(at), symbol, axis, hovertemplate=told))
    return traces


def marks(
    name: str, role: str, xs: Sequence[Any], ys: Sequence[Any], symbol: str, axis: str = "y", **style: Any
) -> Trace:
    """Points, which are not cut off at the edge of a panel."""
    trace = {"type": "scatter", "mode": "markers", "name": name, "meta": {"role": role}, "x": list(xs), "y": list(ys)}
    return {**trace, "yaxis": axis, "marker": {"symbol": symbol, "size": 9}, "cliponaxis": False, **style}
