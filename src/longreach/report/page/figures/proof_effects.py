"""What each remedy brought: by how much it ended better than the control, seed by seed."""

import math

from longreach.report.page.figure import Figure
from longreach.report.page.figures.arms import best_first, called, rows_of
from longreach.report.page.figures.axes import Trace, marks, scaled
from longreach.report.page.figures.text import cut, shown
from longreach.story import Story
from longreach.trial.effect import Effect
from longreach.trial.proof import Arm, Proof


def proof_effects(story: Story) -> tuple[Figure, ...]:
    """Paired differences of each arm: every seed, the mean, its interval, and the least effect worth having.

    Drawn     at most 20 arms, those with the largest gain
    Interval  that of the arm's share of the trial's level: it is wide, for it holds for all arms and looks together. It
              is cut off at the edge where two seeds tell next to nothing; the numbers hold the whole
    """
    found = story.proof
    arms = best_first(found) if found and found.control.outcomes else []
    if found is None or not arms:
        return ()
    effects = [found.against(found.control, arm) for arm in arms]
    bars = [found.bar(arm) for arm in arms]
    points = [(row, seed, gain) for row, arm in enumerate(arms) for seed, gain in found.gain(arm).items()]
    labels = [f"{called(found, arm)}: {found.said(arm)}" for arm in arms]
    layout = rows_of(labels, f"{shown(found.metric)}: how much better than the control")
    scaled(layout["xaxis"], _extent([gain for *_, gain in points], bars, effects), zero=True)
    line = {"width": 1.5, "dash": "solid"}
    across = {"x0": 0, "x1": 0, "y0": 0, "y1": 1, "xref": "x", "yref": "paper"}
    layout["shapes"].append({"type": "line", "name": "quiet", "layer": "below", "line": line, **across})
    return (
        Figure(
            name="proof",
            title="What each remedy brought, seed by seed",
            look=_look(found, effects, arms),
            said=f"A row for each arm, from better to worse. {'; '.join(_told(found, arm) for arm in arms)}.",
            traces=[_means(effects), _seeds(points), _bars(bars)],
            layout=layout,
            columns=("arm", "seed", f"{cut(found.metric)}: better by", "mean", "low", "high", "least worth having"),
            rows=[
                (cut(called(found, arms[row])), seed, gain, one.estimate, one.low, one.high, bars[row])
                for row, seed, gain in points
                for one in (effects[row],)
            ],
        ),
    )


def _extent(gains: list[float], bars: list[float], effects: list[Effect]) -> list[float]:
    """What the axis has to show: all points, and of the intervals as much as leaves the points apart."""
    far = 2 * max([abs(value) for value in (*gains, *bars) if math.isfinite(value)], default=1.0)
    ends = [end for one in effects for end in (one.low, one.high) if math.isfinite(end)]
    return [*gains, *bars, *(one.estimate for one in effects), *(min(far, max(-far, end)) for end in ends)]


def _means(effects: list[Effect]) -> Trace:
    """With their intervals as error bars, as far as there are any."""
    known = [math.isfinite(one.low) and math.isfinite(one.high) for one in effects]
    up = [one.high - one.estimate if sure else 0 for one, sure in zip(effects, known, strict=True)]
    down = [one.estimate - one.low if sure else 0 for one, sure in zip(effects, known, strict=True)]
    bars = {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 2, "width": 7}
    means, rows = [one.estimate for one in effects], list(range(len(effects)))
    style = {"text": [f"mean {_interval(one)}" for one in effects], "hovertemplate": "%{text}", "cliponaxis": True}
    return marks("mean and interval", "main", means, rows, "square", error_x=bars, **style)


def _seeds(points: list[tuple[int, int, float]]) -> Trace:
    """A little below the mean of their arm."""
    told = [f"seed {seed}" for _, seed, _ in points]
    gains, rows = [gain for *_, gain in points], [row + 0.22 for row, *_ in points]
    return marks("one seed", "beside", gains, rows, "circle-open", text=told, hovertemplate="%{text}: %{x:.3~g}")


def _bars(bars: list[float]) -> Trace:
    rows, told = list(range(len(bars))), "worth having: %{x:.3~g}"
    return marks("least effect worth having", "quiet", bars, rows, "line-ns-open", hovertemplate=told)


def _interval(one: Effect) -> str:
    if not (math.isfinite(one.low) and math.isfinite(one.high)):
        return f"{one.estimate:.3g} (no interval of one seed)"
    return f"{one.estimate:.3g} (interval {one.low:.3g} to {one.high:.3g})"


def _told(found: Proof, arm: Arm) -> str:
    one = found.against(found.control, arm)
    return f"{cut(called(found, arm))}: better in {one.better} of {one.seeds}, {_interval(one)}: {found.said(arm)}"


def _look(found: Proof, effects: list[Effect], arms: list[Arm]) -> str:
    best = found.winner
    if best is not None:
        one = found.against(found.control, best)
        won = f"{cut(found.metric)} better by {_interval(one)}, in {one.better} of {one.seeds} seeds"
        return f"{cut(best.name)} is proven: {won}."
    one, arm = max(zip(effects, arms, strict=True), key=lambda pair: pair[0].estimate)
    return (
        f"None is proven; the largest mean is that of {cut(called(found, arm))}, {_interval(one)}, "
        f"and {found.bar(arm):.3g} is worth having."
    )
