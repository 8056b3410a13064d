"""How far the gradient of control and remedies reaches."""

import math
from statistics import median

from longreach.diagnosis.stacks import asked
from longreach.report.page.figure import Figure
from longreach.report.page.figures.arms import best_first, called, rows_of
from longreach.report.page.figures.axes import Trace, curve, marks, scaled
from longreach.report.page.figures.text import cut
from longreach.report.places import gravest_first
from longreach.story import Story
from longreach.trial.proof import Arm


def proof_reach(story: Story) -> tuple[Figure, ...]:
    """Reach of control and arm, each the median over the seeds that both have; the need of the gravest layer.

    Drawn  at most 20 arms, those with the largest gain
    """
    found = story.proof
    if found is None or not found.control.outcomes:
        return ()
    rows = []
    for arm in best_first(found):
        seeds = [run.seed for run in arm.outcomes]
        before, after = _reaches(found.control, seeds), _reaches(arm, seeds)
        if before and after:
            rows.append((called(found, arm), median(before), median(after), len(after)))
    if not rows:
        return ()
    need = _need(story)
    layout = rows_of([name for name, *_ in rows], "reach (steps)")
    reaches = [reach for _, before, after, _ in rows for reach in (before, after)]
    scaled(layout["xaxis"], [*reaches, need or 0], zero=True)
    look = _look(rows, need)
    each = "; ".join(f"{cut(name)}: from {first:g} to {last:g} steps" for name, first, last, _ in rows)
    return (
        Figure(
            name="proof-reach",
            title="Reach with and without each remedy",
            look=look,
            said=f"A row for each arm. {each}. {look}",
            traces=[*_traces(rows), *([_line(need, layout["yaxis"]["range"])] if need is not None else [])],
            layout=layout,
            columns=("arm", "reach of the control (steps, median)", "reach with the remedy (steps, median)", "seeds"),
            rows=[(cut(name), *numbers) for name, *numbers in rows],
        ),
    )


def _need(story: Story) -> int | None:
    """Of the layer that is drawn first."""
    places = gravest_first(story.diagnosis) if story.diagnosis else []
    need = asked(places[0].layer) if places else None
    return need.lag if need else None


def _reaches(arm: Arm, seeds: list[int]) -> list[float]:
    return [run.reach for run in arm.on(seeds) if run.reach is not None and math.isfinite(run.reach)]


def _traces(rows: list[tuple[str, float, float, int]]) -> list[Trace]:
    """Two points for each arm, and a line between them."""
    places = list(range(len(rows)))
    before, after = [before for _, before, _, _ in rows], [after for _, _, after, _ in rows]
    xs = [x for one, other in zip(before, after, strict=True) for x in (one, other, None)]
    ys = [y for place in places for y in (place, place, math.nan)]  # the lines do not hang together
    return [
        curve("between", "quiet", xs, ys, line={"width": 2}, showlegend=False, hoverinfo="skip", hovertemplate=""),
        marks("control", "beside", before, places, "circle-open", hovertemplate="control: %{x}"),
        marks("with the remedy", "main", after, places, "diamond", hovertemplate="with the remedy: %{x}"),
    ]


def _line(need: int, ends: list[float]) -> Trace:
    told = f"need {need}"
    return curve(told, "need", [need, need], ends, line={"width": 2, "dash": "dash"}, hovertemplate=told)


def _look(rows: list[tuple[str, float, float, int]], need: int | None) -> str:
    name, first, last, _ = max(rows, key=lambda row: row[2] - row[1])
    asks = f"; the data ask for {need}" if need is not None else ""
    return f"Reach goes furthest with {cut(name)}: from {first:g} to {last:g} steps{asks}."
