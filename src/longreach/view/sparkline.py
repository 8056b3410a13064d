"""A curve as small as a word, drawn here so that a hundred of them cost a page nothing."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from longreach.report.svg import unbroken

WIDTH, HEIGHT, MARGIN = 160, 36, 2
POINTS = 80  # drawn at most; more than the columns that it has on a screen


def sparkline(
    xs: Sequence[float],
    ys: Sequence[float],
    *,
    said: str,
    role: str,
    low: float | None = None,
    line: float | None = None,
) -> Markup:
    """A curve as an SVG element; what is not finite is a gap.

    said  what is to be seen, for those who cannot
    role  what the curve is, for its colour: "loss", "reach"
    low   where the picture ends below, for a curve that falls without end; None: at the smallest value
    line  a level to compare with, drawn where it lies in the picture
    """
    points = thinned(xs, ys)
    finite = [y for _, y in points if math.isfinite(y)]
    bottom, top = (low if low is not None else min(finite, default=0.0)), max(finite, default=0.0)
    left, right = (points[0][0], points[-1][0]) if points else (0.0, 0.0)

    def place(x: float, y: float) -> str:
        across = (x - left) / (right - left) if right > left else 0.5
        up = (max(y, bottom) - bottom) / (top - bottom) if top > bottom else 0.5
        return f"{MARGIN + across * (WIDTH - 2 * MARGIN):.1f},{HEIGHT - MARGIN - up * (HEIGHT - 2 * MARGIN):.1f}"

    def stroke(kind: str, run: Sequence[tuple[float, float]]) -> Markup:
        path = "M" + " L".join(place(*point) for point in run)
        return Markup('<path class="{}" d="{}"/>').format(kind, path + (" h0.1" if len(run) == 1 else ""))

    strokes = [stroke(role, run) for run in unbroken(points)]
    if line is not None and bottom < line < top:
        strokes.insert(0, stroke("quiet", [(left, line), (right, line)]))
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(WIDTH, HEIGHT, said, Markup("").join(strokes))


def thinned(xs: Sequence[float], ys: Sequence[float], most: int = POINTS) -> list[tuple[float, float]]:
    """At most so many points: means of neighbours; one that is not finite stays what it is."""
    stretch = max(1, -(-len(xs) // most))
    starts = range(0, len(xs), stretch)
    return [(float(xs[start]), _mean(ys[start : start + stretch])) for start in starts]


def _mean(values: Sequence[float]) -> float:
    return sum(value / len(values) for value in values)  # each divided first: a sum of large losses may overflow
