"""The picture: how far back a gradient gets, and how far back the data ask for, over one axis, the lag."""

import math
from dataclasses import dataclass, replace
from typing import Any

from longreach.diagnosis.stacks import asked
from longreach.diagnosis.wording import counted, factor, percent
from longreach.record import Layer, Need, Reach
from longreach.report.chart import between
from longreach.report.page.figure import Figure
from longreach.report.page.figures.axes import Trace, curve, level, lost, marks, once, panels, power, title
from longreach.report.page.figures.text import cut
from longreach.report.page.figures.thin import envelope
from longreach.report.places import Place, gravest_first
from longreach.story import Story

MOST = 12  # layers that are drawn, the gravest first
BELOW = 4  # powers of ten below the threshold that are shown at first
LABELS = 0.05  # of the height: a row of labels above the panels
WIDE = 0.3  # of the width: a label on a phone


def reach_and_need(story: Story) -> tuple[Figure, ...]:
    """Gain, signal and need over the lag, with reach and need as lines: one drawing for each layer and direction.

    Drawn   at most 12 layers, the gravest first; the last one says how many are not
    Axes    the lag is linear, so that distances are distances; gain and signal are logarithmic, so that an even fade is
            a straight slope; need is linear
    Points  all measured lags of gain; of need, over more than 1,800 lags, the extremes of each column
    """
    if story.diagnosis is None:
        return ()
    places = gravest_first(story.diagnosis)
    drawable = [place for place in places if _end(place.layer) >= 1]
    drawn = drawable[:MOST]
    more = len(places) - len(drawn)
    return tuple(_draw(place, number, more if place is drawn[-1] else 0) for number, place in enumerate(drawn))


@dataclass(frozen=True)
class Line:
    """A lag that is marked by a vertical line with a label."""

    lag: int
    text: str
    role: str
    dash: str


def _draw(place: Place, number: int, more: int) -> Figure:
    layer = _even(place.layer)
    reach, need = layer.reach, asked(layer)
    lines = _lines(layer, reach, need)
    rows_of_labels = _placed(lines, _end(layer))
    both = reach is not None and layer.need is not None
    top = 1 - LABELS * (1 + max(rows_of_labels, default=0))
    layout = panels(_lag_axis(layer), *((1.7, 1.0) if both else (1.0,)), top=top, gap=0.06)
    layout |= {"height": 460 if both else 340, "shapes": [], "annotations": []}
    layout["xaxis"] |= {"range": [0, _end(layer)]}
    traces: list[Trace] = []
    if reach:
        traces += _gain(reach, layout)
    if layer.need:
        traces += _needed(layer, layout, "y2" if both else "y")
    for line, row in zip(lines, rows_of_labels, strict=True):
        _add(line, row, top, layout, _end(layer))
    return Figure(
        name="reach-and-need" + (f"-{number + 1}" if number else ""),
        title=f"Reach and need: {cut(place.name)}",
        look=_look(layer, reach, need) + (f" {counted(more, 'more layer')} not drawn." if more else ""),
        said=_said(layer, reach, need),
        traces=once(traces),
        layout=layout,
        columns=("lag (steps)", "log10 of gain", "log10 of signal", "need (share of variance)", "need of two inputs"),
        rows=_rows(layer),
    )


def _even(layer: Layer) -> Layer:
    """With curves as long as their lags: a file that somebody has changed may hold others."""
    if layer.reach is None:
        return layer
    reach = layer.reach
    signal = reach.log_signal and (*reach.log_signal, *(math.nan,) * len(reach.lags))[: len(reach.lags)]
    points = list(zip(reach.lags, reach.log_gain, strict=False))
    lags, gain = tuple(lag for lag, _ in points), tuple(ln for _, ln in points)
    return replace(layer, reach=replace(reach, lags=lags, log_gain=gain, log_signal=signal and signal[: len(lags)]))


def _end(layer: Layer) -> int:
    """The end of the axis: the horizon, or beyond it, where gradients are cut, the need."""
    needs = [need for need in (layer.need, layer.deep.need if layer.deep else None) if need]
    ends = [max([need.lag or 0, *need.lags]) for need in needs]
    return max([layer.reach.horizon if layer.reach else 0, *(layer.reach.lags if layer.reach else ()), *ends])


def _lag_axis(layer: Layer) -> str:
    ahead = "forward" if layer.direction == "reverse" else "back"
    return f"lag (steps {ahead} in time)"


def _gain(reach: Reach, layout: dict[str, Any]) -> list[Trace]:
    """The curves of the upper panel; sets its axis."""
    axis = layout["yaxis"]
    ends = _range(reach)
    axis |= {"type": "log", "range": list(ends), "title": title("gain, signal"), "exponentformat": "power"}
    axis |= {"dtick": max(1, math.ceil((ends[1] - ends[0]) / 6))}
    edges = (10.0 ** ends[0], 10.0 ** ends[1])
    limit = threshold_of(reach)
    curves: list[tuple[str, str, tuple[float, ...], dict[str, Any]]]
    curves = [("gain", "reach", reach.log_gain, {"width": 3})]
    if reach.log_signal:
        curves.append(("signal", "signal", reach.log_signal, {"width": 2, "dash": "dot"}))
    traces = []
    for name, role, logs, line in curves:
        values = [power(ln) for ln in logs]
        traces.append(curve(name, role, reach.lags, values, line=line, hovertemplate="%{y:.2e}"))
        traces += lost(name, reach.lags, logs, edges, nothing="0: nothing is left")
    level(layout, f"reach ends at {percent(limit)}", limit)
    at = power(between(reach.lags, reach.log_gain, reach.lag))
    if math.isfinite(at):
        traces.append(marks("reach", "reach", [reach.lag], [at], "circle", showlegend=False, hoverinfo="skip"))
    return traces


def _range(reach: Reach) -> tuple[float, float]:
    """Powers of ten at the ends of the upper panel: what is further down is seen by dragging the axis."""
    values = [ln / math.log(10) for ln in (*reach.log_gain, *(reach.log_signal or ())) if math.isfinite(ln)]
    limit = math.log10(threshold_of(reach))
    low = math.floor(min(max(min(values, default=0.0), limit - BELOW), limit - 1))
    return low, max(0.3, min(300.0, math.ceil(max(values, default=0.0)) + 0.3))


def threshold_of(reach: Reach) -> float:
    """The gain at which reach ends, as it can be drawn."""
    return reach.threshold if 0 < reach.threshold < 1 else 0.01


def _needed(layer: Layer, layout: dict[str, Any], name: str) -> list[Trace]:
    """The curves of the lower panel; sets its axis."""
    axis = layout["yaxis" + name[1:]]
    found = [(layer.need, "need", "solid", "tozeroy")]
    if layer.deep:
        found.append((layer.deep.need, "need of two inputs together", "dashdot", "none"))
    shares = [share for need, *_ in found if need for share in need.strength if math.isfinite(share)]
    smallest = layer.need.detectable if layer.need else math.nan
    top = 1.1 * min(1.0, max([*shares, smallest if math.isfinite(smallest) else 0.0, 1e-9]))
    axis |= {"range": [0, top], "title": title("need"), "tickformat": ".2~%", "nticks": 4}
    traces = []
    for need, told, dash, fill in found:
        if need is None:
            continue
        pairs = list(zip(need.lags, need.strength, strict=False))
        pairs = [pairs[at] for at in envelope(*_columns(pairs))]
        lags, strength = _columns(pairs)
        style = {"line": {"width": 1.5, "dash": dash}, "fill": fill, "hovertemplate": "%{y:.2~%}"}
        if len(pairs) == 1:
            style |= {"mode": "markers", "marker": {"size": 9}}
        traces += [curve(told, "need", lags, strength, name, **style), *lost("need", lags, strength, (0, top), name)]
    if math.isfinite(smallest):
        level(layout, f"detectable: {percent(smallest)}", smallest, name, "longdash")
    return traces


def _columns(pairs: list[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [lag for lag, _ in pairs], [share for _, share in pairs]


def _lines(layer: Layer, reach: Reach | None, need: Need | None) -> list[Line]:
    lines = [Line(reach.lag, f"reach {reach.lag}", "reach", "solid")] if reach else []
    if need and need.lag is not None:
        lines.append(Line(need.lag, f"need {need.lag}", "need", "dash"))
        if layer.deep and layer.deep.need is need and layer.deep.partner is not None:
            lines.append(Line(layer.deep.partner, f"and {layer.deep.partner}", "need", "dashdot"))
    if reach and reach.horizon < _end(layer):
        lines.append(Line(reach.horizon, f"horizon {reach.horizon}", "quiet", "dot"))
    return sorted(lines, key=lambda line: line.lag)


def _placed(lines: list[Line], end: int) -> list[int]:
    """For each label the row above the panels in which it does not lie on another, also on a phone; 0 is the lowest."""
    placed: list[int] = []
    for line in lines:
        near = {row for row, other in zip(placed, lines, strict=False) if line.lag - other.lag < WIDE * end}
        placed.append(min(set(range(len(lines))) - near))
    return placed


def _add(line: Line, row: int, top: float, layout: dict[str, Any], end: int) -> None:
    """The line, up to its label, and the label."""
    height = top + LABELS * (row + 0.1)
    anchor = "left" if line.lag < WIDE / 2 * end else "right" if line.lag > (1 - WIDE / 2) * end else "center"
    across = {"x0": line.lag, "x1": line.lag, "y0": 0, "y1": height, "xref": "x", "yref": "paper"}
    style = {"width": 2, "dash": line.dash}
    layout["shapes"].append({"type": "line", "name": line.role, "layer": "above", "line": style, **across})
    label = {"x": line.lag, "y": height, "xref": "x", "yref": "paper", "xanchor": anchor, "yanchor": "bottom"}
    layout["annotations"].append({"name": line.role, "text": line.text, "showarrow": False, "borderpad": 0, **label})


def _look(layer: Layer, reach: Reach | None, need: Need | None) -> str:
    return f"{_how_far(reach)}; {_how_needed(layer, need)}."


def _how_far(reach: Reach | None) -> str:
    if reach is None:
        return "How far a gradient reaches could not be measured"
    limit, of = percent(threshold_of(reach)), f"of {reach.horizon} steps"
    if any(math.isnan(ln) for ln in reach.log_gain):
        return f"Gain is NaN at some lags: reach {reach.lag} {of} is a lower bound"
    if reach.lag >= reach.horizon:
        last = reach.log_gain[-1] if reach.log_gain else 0.0
        grows = f"; it grows to {factor(last)}" if last > math.log(10) else ""
        return f"Gain stays above {limit} over all {counted(reach.horizon, 'step')}{grows}"
    return f"Gain falls below {limit} after {reach.lag} {of}"


def _how_needed(layer: Layer, need: Need | None) -> str:
    if need is None:
        return "whether the data ask for more was not tested"
    if need.lag is None:
        return f"no need was found; one of {percent(need.detectable)} of the error would have been"
    together = layer.deep.partner if layer.deep and layer.deep.need is need else None
    return f"the data ask for {need.lag}" + (f", read together with {together}" if together is not None else "")


def _said(layer: Layer, reach: Reach | None, need: Need | None) -> str:
    said = [f"Two curves over the {_lag_axis(layer)}, from 0 to {_end(layer)}."]
    if reach and reach.lags:
        said.append(
            f"Gain, on a logarithmic axis, is {factor(reach.log_gain[0])} at lag {reach.lags[0]} and "
            f"{factor(reach.log_gain[-1])} at lag {reach.lags[-1]}; it crosses {percent(threshold_of(reach))} after "
            f"lag {reach.lag}, the reach."
        )
        if reach.log_signal:
            said.append(f"The signal of this loss ends at {factor(reach.log_signal[-1])}.")
    if need and need.lags:
        share, lag = max(zip(need.strength, need.lags, strict=False), default=(math.nan, 0))
        said.append(f"Need is largest at lag {lag}, with {percent(share)} of the variance of the error.")
        said.append("A peak stands where a lag, or a band of lags that count together, begins.")
    return " ".join([*said, _look(layer, reach, need)])


def _rows(layer: Layer) -> list[tuple[Any, ...]]:
    """All measured lags; nothing stands where there was no measurement."""
    reach, need, deep = layer.reach, layer.need, layer.deep.need if layer.deep else None
    tenth = math.log(10)
    gain = {lag: ln / tenth for lag, ln in zip(reach.lags, reach.log_gain, strict=False)} if reach else {}
    signal = {lag: ln / tenth for lag, ln in zip(reach.lags, reach.log_signal or (), strict=False)} if reach else {}
    shares = [dict(_thinned(one)) if one else {} for one in (need, deep)]
    lags = sorted({*gain, *signal, *shares[0], *shares[1]})
    return [(lag, *(column.get(lag) for column in (gain, signal, *shares))) for lag in lags]


def _thinned(need: Need) -> list[tuple[int, float]]:
    pairs = list(zip(need.lags, need.strength, strict=False))
    return [pairs[at] for at in envelope(*_columns(pairs))]
