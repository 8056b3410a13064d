"""What each remedy brought: paired differences with intervals, reach before and after, losses of control and winner."""

import math
from statistics import fmean, median
from typing import Any

from longreach.report.page.figure import Figure
from longreach.report.page.figures.axes import LEGEND, Trace, curve, lost, marks, once, panels, scaled
from longreach.report.page.figures.text import cut, shown
from longreach.story import Story
from longreach.trial.effect import Effect
from longreach.trial.proof import Arm, Proof

MOST_ARMS, MOST_SEEDS = 20, 8


def proof(story: Story) -> tuple[Figure, ...]:
    """Three drawings of a trial: differences, reach, losses. See each.

    Drawn   at most 20 arms, those with the largest gain; the losses of at most 8 seeds
    """
    found = story.proof
    if found is None or not found.control.outcomes:
        return ()
    arms = [arm for arm in (found.random, *found.arms) if found.gain(arm)]
    arms = sorted(arms, key=lambda arm: -_mean(found.gain(arm).values()))[:MOST_ARMS]
    need = story.diagnosis and next((layer.need.lag for layer in story.diagnosis.record.layers if layer.need), None)
    return (*_differences(found, arms), *_reach(found, arms, need), *_losses(found))


def _differences(found: Proof, arms: list[Arm]) -> tuple[Figure, ...]:
    """By how much each arm ended better than the control: every seed, the mean, its interval, the least worth having.

    Interval  that of the arm's share of the trial's level: it is wide, for it holds for all arms and looks together. It
              is cut off at the edge where two seeds tell next to nothing; the numbers hold the whole
    """
    if not arms:
        return ()
    effects = [found.against(found.control, arm) for arm in arms]
    gains, bars = [found.gain(arm) for arm in arms], [found.bar(arm) for arm in arms]
    labels = [f"{_called(found, arm)}: {found.verdict(arm)}" for arm in arms]
    layout = _rows_of(labels, f"{shown(found.metric)}: how much better than the control")
    each = [(row, seed, gain) for row, of_arm in enumerate(gains) for seed, gain in of_arm.items()]
    rows, means = list(range(len(arms))), [one.estimate for one in effects]
    # an axis that shows all points, and of intervals as much as leaves the points apart
    far = 2 * max([abs(value) for value in [*(gain for *_, gain in each), *bars] if math.isfinite(value)], default=1.0)
    scaled(layout["xaxis"], [*means, *bars, *(gain for *_, gain in each), *_cut(effects, far), 0.0], zero=True)
    known = [math.isfinite(one.low) and math.isfinite(one.high) for one in effects]
    interval = {
        "type": "data",
        "symmetric": False,
        "array": [one.high - one.estimate if sure else 0 for one, sure in zip(effects, known, strict=True)],
        "arrayminus": [one.estimate - one.low if sure else 0 for one, sure in zip(effects, known, strict=True)],
        "thickness": 2,
        "width": 7,
    }
    told = [f"mean {_interval(one)}" for one in effects]
    style = {"hovertemplate": "%{text}"}
    traces: list[Trace] = [
        marks("mean and interval", "main", means, rows, "square", error_x=interval, text=told, **style),
        _seeds(each),
        marks(
            "least effect worth having", "quiet", bars, rows, "line-ns-open", hovertemplate="worth having: %{x:.3~g}"
        ),
    ]
    layout["shapes"].append(_upright(0, "solid"))
    return (
        Figure(
            name="proof",
            title="What each remedy brought, seed by seed",
            look=_look(found, effects, arms),
            said=f"A row for each arm, from better to worse. {'; '.join(_told(found, arm) for arm in arms)}.",
            traces=[trace | {"cliponaxis": True} for trace in traces],
            layout=layout,
            columns=("arm", "seed", f"{cut(found.metric)}: better by", "mean", "low", "high", "least worth having"),
            rows=[
                (
                    cut(_called(found, arms[row])),
                    seed,
                    gain,
                    effects[row].estimate,
                    effects[row].low,
                    effects[row].high,
                    bars[row],
                )
                for row, seed, gain in each
            ],
        ),
    )


def _seeds(each: list[tuple[int, int, float]]) -> Trace:
    """The seeds lie a little below the mean of their arm."""
    rows, seeds, gains = ([point[at] for point in each] for at in range(3))
    told = [f"seed {seed}" for seed in seeds]
    at = [row + 0.22 for row in rows]
    return marks("one seed", "beside", gains, at, "circle-open", text=told, hovertemplate="%{text}: %{x:.3~g}")


def _reach(found: Proof, arms: list[Arm], need: int | None) -> tuple[Figure, ...]:
    """Reach of control and arm, each the median over the seeds that both have."""
    rows = []
    for arm in arms:
        seeds = [run.seed for run in arm.outcomes]
        before, after = (_reaches(one, seeds) for one in (found.control, arm))
        if before and after:
            rows.append((_called(found, arm), median(before), median(after), len(after)))
    if not rows:
        return ()
    layout = _rows_of([name for name, *_ in rows], "reach (steps)")
    scaled(
        layout["xaxis"], [reach for _, before, after, _ in rows for reach in (before, after)] + [need or 0], zero=True
    )
    places = list(range(len(rows)))
    before, after = ([row[at] for row in rows] for at in (1, 2))
    between = {"x": [x for _, a, b, _ in rows for x in (a, b, None)], "y": [y for at in places for y in (at, at, None)]}
    traces = [
        curve("", "quiet", [], [], showlegend=False, line={"width": 2}) | {**between, "hoverinfo": "skip"},
        marks("control", "beside", before, places, "circle-open", hovertemplate="control: %{x}"),
        marks("with the remedy", "main", after, places, "diamond", hovertemplate="with the remedy: %{x}"),
    ]
    if need is not None:
        ends = layout["yaxis"]["range"]
        told = f"need {need}"
        traces.append(
            curve(told, "need", [need, need], ends, line={"width": 2, "dash": "dash"}) | {"hovertemplate": told}
        )
    name, first, last, _ = max(rows, key=lambda row: row[2] - row[1])
    asks = f"; the data ask for {need}" if need is not None else ""
    look = f"Reach goes furthest with {cut(name)}: from {first:g} to {last:g} steps{asks}."
    each = "; ".join(f"{cut(name)}: from {first:g} to {last:g} steps" for name, first, last, _ in rows)
    return (
        Figure(
            name="proof-reach",
            title="Reach with and without each remedy",
            look=look,
            said=f"A row for each arm. {each}. {look}",
            traces=traces,
            layout=layout,
            columns=("arm", "reach of the control (steps, median)", "reach with the remedy (steps, median)", "seeds"),
            rows=[(cut(name), *numbers) for name, *numbers in rows],
        ),
    )


def _losses(found: Proof) -> tuple[Figure, ...]:
    """Losses of the control and of the winner, or of the arm that gained most where none is proven, seed by seed."""
    tried = [arm for arm in found.arms if found.gain(arm)]
    best = found.winner or max(tried, key=lambda arm: _mean(found.gain(arm).values()), default=None)
    if best is None:
        return ()
    name = _called(found, best)
    runs = [("control", "beside", "dot", run) for run in found.control.outcomes if run.losses][:MOST_SEEDS]
    runs += [(name, "main", "solid", run) for run in best.outcomes if run.losses][:MOST_SEEDS]
    if not any(who != "control" for who, *_ in runs):
        return ()
    layout = panels("training step", 1.0)
    layout |= {"height": 360, "hovermode": "closest"}
    ends = scaled(layout["yaxis"], [value for *_, run in runs for value in run.losses])
    layout["yaxis"]["title"] = {"text": "loss"}
    traces: list[Trace] = []
    rows = []
    for who, role, dash, run in runs:
        steps = _steps(len(run.losses), found.steps)
        hover = f"seed {run.seed}, step %{{x}}: %{{y:.3~g}}"
        line = {"width": 2, "dash": dash}
        traces.append(curve(shown(who), role, steps, run.losses, line=line, hovertemplate=hover))
        traces += lost(shown(f"{who}, seed {run.seed}"), steps, run.losses, ends)
        rows += [(step, cut(who), run.seed, value) for step, value in zip(steps, run.losses, strict=True)]
    ended = _ended(found, best)
    look = f"{ended[0].upper()}{ended[1:]} Dotted: the control; solid: {cut(name)}."
    return (
        Figure(
            name="proof-losses",
            title=f"Losses of the control and of {cut(name)}, seed by seed",
            look=look,
            said=f"A curve of the loss over the training step for each of {len(runs)} runs. {look}",
            traces=once(traces),
            layout=layout,
            columns=("training step", "arm", "seed", "loss"),
            rows=rows,
        ),
    )


def _steps(points: int, steps: int) -> list[int]:
    """Where the points of a thinned curve lie: evenly spaced over the run."""
    last = max(steps - 1, points - 1)
    return [round(place * last / max(1, points - 1)) for place in range(points)]


def _rows_of(labels: list[str], title: str) -> dict[str, Any]:
    """A layout of rows, the first at the top, each with its label above it: names take no room from a phone's width."""
    return {
        "height": 130 + 48 * len(labels),
        "hovermode": "closest",
        "legend": LEGEND,
        "xaxis": {"title": {"text": title}},
        "yaxis": {"range": [len(labels) - 0.4, -0.75], "showticklabels": False, "showgrid": False, "zeroline": False},
        "shapes": [],
        "annotations": [
            {
                "name": "quiet",
                "text": shown(label, 48),
                "showarrow": False,
                "x": 0,
                "xref": "paper",
                "xanchor": "left",
                "y": row - 0.2,
                "yanchor": "bottom",
            }
            for row, label in enumerate(labels)
        ],
    }


def _upright(x: float, dash: str) -> dict[str, Any]:
    across = {"x0": x, "x1": x, "y0": 0, "y1": 1, "xref": "x", "yref": "paper"}
    return {"type": "line", "name": "quiet", "layer": "below", "line": {"width": 1.5, "dash": dash}, **across}


def _called(found: Proof, arm: Arm) -> str:
    return "random change" if arm is found.random else arm.name


def _cut(effects: list[Effect], far: float) -> list[float]:
    return [min(far, max(-far, end)) for one in effects for end in (one.low, one.high) if math.isfinite(end)]


def _interval(one: Effect) -> str:
    if not (math.isfinite(one.low) and math.isfinite(one.high)):
        return f"{one.estimate:.3g}, of one seed: no interval"
    return f"{one.estimate:.3g}, interval {one.low:.3g} to {one.high:.3g}"


def _told(found: Proof, arm: Arm) -> str:
    one = found.against(found.control, arm)
    return f"{cut(_called(found, arm))}: better in {one.better} of {one.seeds}, {_interval(one)}: {found.verdict(arm)}"


def _look(found: Proof, effects: list[Effect], arms: list[Arm]) -> str:
    if found.winner is not None:
        one = found.against(found.control, found.winner)
        return f"{cut(found.winner.name)} is proven: better by {_interval(one)}, in {one.better} of {one.seeds} seeds."
    best = max(zip(effects, arms, strict=True), key=lambda pair: pair[0].estimate)
    return (
        f"None is proven; the largest mean is that of {cut(_called(found, best[1]))}, {_interval(best[0])}, "
        f"and {found.bar(best[1]):.3g} is worth having."
    )


def _ended(found: Proof, best: Arm) -> str:
    before, after = (_mean(found.ends(one, best)) for one in (found.control, best))
    return f"{cut(found.metric)} at the end, on average: {before:.3g} without, {after:.3g} with {cut(best.name)}."


def _reaches(arm: Arm, seeds: list[int]) -> list[float]:
    return [run.reach for run in arm.on(seeds) if run.reach is not None and math.isfinite(run.reach)]


def _mean(values: Any) -> float:
    values = list(values)
    return fmean(values) if values else math.nan
