"""How the reach came about: gain over training step and lag, with the reach as a line on it."""

import math
from typing import Any

from longreach.diagnosis.stacks import asked
from longreach.history import ReachTrack
from longreach.probes.reach import THRESHOLD
from longreach.probes.samples import LayerKey
from longreach.record import Layer
from longreach.report.chart import between
from longreach.report.page.figure import Figure
from longreach.report.page.figures.axes import LARGEST, Trace
from longreach.report.page.figures.text import cut
from longreach.report.page.figures.thin import evenly
from longreach.report.places import Place, gravest_first
from longreach.story import Story

MOST = 3  # layers that are drawn, the gravest first
COLUMNS, LAGS = 80, 40  # of the map, of each layer
BELOW = 2  # powers of ten below the threshold that the colours tell apart


def reach_over_training(story: Story) -> tuple[Figure, ...]:
    """Gain as colours over training step and lag: one map for each layer and direction that was read more than once.

    Drawn   at most 3 layers, the gravest first; of more than 80 sampled steps, and of more than 40 lags, evenly spaced
            ones with the first and the last; between a step's own lags ln gain is read off linearly
    Colours cividis, which looks alike to all eyes; from a hundredth of the threshold to 1, or up to where gain explodes
    Gaps    NaN and what was not measured have no colour; gain 0 has the lowest one
    """
    tracks = {_key(track.layer): track for track in story.history.reach if len(set(track.steps)) > 1}
    places = gravest_first(story.diagnosis) if story.diagnosis else []
    told = [(tracks.pop(_key(place.layer)), place) for place in places if _key(place.layer) in tracks]
    drawable = told if places else [(track, None) for track in tracks.values()]
    return tuple(_draw(track, place, number) for number, (track, place) in enumerate(drawable[:MOST]))


def _key(layer: Layer | LayerKey) -> tuple[str, int, str, bool]:
    return layer.module, layer.index, layer.direction, layer.whole


def _draw(track: ReachTrack, place: Place | None, number: int) -> Figure:
    lags, steps, gain = grid(track)
    name = place.name if place else track.layer.module or "model"
    low, high = _range(gain)
    end = max(lags[-1], 1)
    need = asked(place.layer) if place else None
    traces: list[Trace] = [_map(steps, lags, gain, low, high), *_line(track)]
    labels = [_label(f"reach {track.reach[-1]}", track.reach[-1])]
    if need and need.lag is not None:
        traces.append(_given("need", [steps[0], steps[-1]], [need.lag] * 2, {"width": 2, "dash": "dash"}))
        end = max(end, need.lag)
        near = abs(need.lag - track.reach[-1]) < 0.1 * end
        labels.append(_label(f"need {need.lag}", need.lag, "left" if near else "right"))
    layout = {
        "height": 400,
        "hovermode": "closest",
        "showlegend": False,
        "annotations": labels,
        "xaxis": {"title": {"text": "training step"}, "range": [steps[0], steps[-1]]},
        "yaxis": {"title": {"text": "lag (steps back in time)"}, "range": [0, 1.03 * end]},
    }
    return Figure(
        name="reach-over-training" + (f"-{number + 1}" if number else ""),
        title=f"How the reach came about: {cut(name)}",
        look=_look(track, need.lag if need else None),
        said=_said(track, lags, gain),
        traces=traces,
        layout=layout,
        columns=("training step", "reach (steps)", *(f"log10 of gain at lag {lag}" for lag in lags)),
        rows=_rows(track, steps, gain),
    )


def grid(track: ReachTrack) -> tuple[list[int], list[int], list[list[float]]]:
    """Lags, steps, and log10 of gain by step and lag: NaN beyond what a step has measured.

    Steps   each once: of two curves at one step the later one
    """
    at_step = dict(zip(track.steps, zip(track.lags, track.log_gain, strict=True), strict=True))
    lags = evenly(sorted({lag for of_step in track.lags for lag in of_step}), LAGS)
    steps = evenly(sorted(at_step), COLUMNS)
    return lags, steps, [[_read(*at_step[step], lag) for lag in lags] for step in steps]


def _read(lags: tuple[int, ...], log_gain: tuple[float, ...], lag: int) -> float:
    return between(lags, log_gain, lag) / math.log(10) if lags and lag <= lags[-1] else math.nan


def _range(gain: list[list[float]]) -> tuple[float, float]:
    """Powers of ten at the ends of the colours."""
    highest = max((value for row in gain for value in row if math.isfinite(value)), default=0.0)
    return math.log10(THRESHOLD) - BELOW, max(0.0, min(LARGEST, math.ceil(highest - 0.3)))


def _map(steps: list[int], lags: list[int], gain: list[list[float]], low: float, high: float) -> Trace:
    shown = [[_bounded(row[at]) for row in gain] for at in range(len(lags))]
    every = max(1, math.ceil((high - low) / 6))
    ticks = list(range(round(low), round(high) + 1, every))
    bar = {"title": {"text": "gain"}, "tickvals": ticks, "ticktext": [_power(tick) for tick in ticks], "thickness": 12}
    return {
        "type": "heatmap",
        "name": "gain",
        "meta": {"role": "given"},
        "x": steps,
        "y": lags,
        "z": shown,
        "zmin": low,
        "zmax": high,
        "colorscale": "Cividis",
        "colorbar": bar,
        "hoverongaps": False,
        "hovertemplate": "step %{x}, lag %{y}: gain 10^%{z:.2f}<extra></extra>",
    }


def _bounded(value: float) -> float | None:
    return None if math.isnan(value) else round(min(LARGEST, max(-LARGEST, value)), 2)


def _power(exponent: int) -> str:
    return f"{10.0**exponent:g}" if -4 <= exponent <= 4 else f"10<sup>{exponent}</sup>"


def _line(track: ReachTrack) -> list[Trace]:
    """The reach, white on black: seen on every colour."""
    steps, reach = list(track.steps), list(track.reach)
    below = _given("reach", steps, reach, {"width": 5, "color": "black"})
    return [
        {**below, "showlegend": False, "hovertemplate": "", "hoverinfo": "skip"},
        _given("reach", steps, reach, {"width": 2.5, "color": "white"}),
    ]


def _label(text: str, lag: int, side: str = "right") -> dict[str, Any]:
    """White on black, on the line it belongs to."""
    colors = {"font": {"color": "white"}, "bgcolor": "rgba(0,0,0,0.6)"}
    place = {"x": 1 if side == "right" else 0, "y": lag, "xref": "paper", "xanchor": side, "yanchor": "bottom"}
    return {"name": "given", "text": text, "showarrow": False, **colors, **place}


def _given(name: str, xs: list[int], ys: list[int], line: dict[str, Any]) -> Trace:
    trace = {"type": "scatter", "mode": "lines", "name": name, "meta": {"role": "given"}, "x": xs, "y": ys}
    line = {"color": "white", **line}
    return {**trace, "line": line, "hovertemplate": f"step %{{x}}: {name} %{{y}}<extra></extra>"}


def _look(track: ReachTrack, need: int | None) -> str:
    first, last, steps = track.reach[0], track.reach[-1], track.steps
    asks = f"; the data ask for {need}" if need is not None else ""
    if min(track.reach) == max(track.reach):
        return f"Reach stays at {first} from step {steps[0]} to step {steps[-1]}{asks}."
    turns = [min(track.reach), max(track.reach)]
    between_ = "" if {first, last} == set(turns) else f", and was between {turns[0]} and {turns[1]} on the way"
    return f"Reach goes from {first} at step {steps[0]} to {last} at step {steps[-1]}{between_}{asks}."


def _said(track: ReachTrack, lags: list[int], gain: list[list[float]]) -> str:
    missing = sum(math.isnan(value) for row in gain for value in row)
    gaps = f" {missing} of its {len(gain) * len(lags)} places have no number." if missing else ""
    return (
        f"A map of gain over the training step, {track.steps[0]} to {track.steps[-1]}, read {len(track.steps)} times, "
        f"and the lag, {lags[0]} to {lags[-1]}, with the reach as a line on it.{gaps} {_look(track, None)}"
    )


def _rows(track: ReachTrack, steps: list[int], gain: list[list[float]]) -> list[tuple[float, ...]]:
    """One for each step that is drawn."""
    reach = dict(zip(track.steps, track.reach, strict=True))
    return [
        (step, reach[step], *(round(value, 2) if math.isfinite(value) else value for value in row))
        for step, row in zip(steps, gain, strict=True)
    ]
