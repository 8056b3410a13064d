"""Success against length as a picture: SVG, a panel a task, a line a course, its 95 % intervals as bars."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log
from statistics import fmean
from xml.sax.saxutils import escape

from longreach.bench.success import Success

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#7f7f7f")  # Okabe & Ito 2008
DASHES = ("", "6 3", "2 3")  # after the eighth course, colours come again
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 860, 62, 340, 50, 66
PLOT = 220  # height of a panel's axes
LEGEND = 19  # pixels a line of it
MARGIN = 12  # pixels of the frame below 0 % and above 100 %
ROOM = 38  # pixels that the number of a length needs
APART = 7  # pixels between courses at one length, at most, so that bars do not hide each other
ABOVE = 3  # pixels between courses of one success, so that lines do not


def svg(found: Sequence[Success]) -> str:
    """The picture, whole: it needs no other file."""
    tasks = list(dict.fromkeys((one.task, one.variant) for one in found))
    courses = sorted({label(one) for one in found}, key=lambda course: (-_mean(course, found), course))
    height = max(PLOT, LEGEND * len(courses)) + TOP + BOTTOM
    panels = []
    for number, task in enumerate(tasks):
        own = [one for one in found if (one.task, one.variant) == task]
        panels.append(f'<g transform="translate(0 {number * height})">{_panel(task, own, courses)}</g>')
    whole = max(1, len(tasks)) * height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {whole}" width="{WIDTH}" height="{whole}" '
        'role="img" font-family="sans-serif" font-size="13" fill="#222">\n'
        "<title>Success against length, by task</title>\n"
        f'<rect width="{WIDTH}" height="{whole}" fill="#fff"/>\n' + "\n".join(panels) + "\n</svg>\n"
    )


def label(one: Success) -> str:
    """The course in words: cell, and remedies."""
    return one.cell if one.remedies == "none" else f"{one.cell} with {one.remedies}"


def _mean(course: str, found: Sequence[Success]) -> float:
    return fmean(one.share for one in found if label(one) == course)


@dataclass(frozen=True)
class Axes:
    """Lengths to the right, logarithmic; the share of runs that solved the task upwards."""

    lengths: tuple[int, ...]

    def x(self, length: int) -> float:
        """Pixels from the left edge; a length of 0 is where 1 is."""
        low, high = (log(max(1, one)) for one in (self.lengths[0], self.lengths[-1]))
        inner = WIDTH - LEFT - RIGHT - 60
        return LEFT + 30 + inner * (0.5 if high == low else (log(max(1, length)) - low) / (high - low))

    @property
    def closest(self) -> float:
        """Pixels between the two lengths that lie closest."""
        places = [self.x(length) for length in self.lengths]
        return min((right - left for left, right in pairwise(places)), default=WIDTH)

    def y(self, share: float) -> float:
        """Pixels from the top edge."""
        return TOP + PLOT * (1 - share)


def _panel(task: tuple[str, str], found: Sequence[Success], courses: Sequence[str]) -> str:
    axes = Axes(tuple(sorted({one.length for one in found})))
    name = f"{task[0]} ({task[1]})" if task[1] else task[0]
    parts = [f'<text x="{LEFT}" y="{TOP - 24}" font-weight="bold">{escape(name)}</text>', _axes(axes)]
    present = [course for course in courses if any(label(one) == course for one in found)]
    for place, course in enumerate(present):
        number = courses.index(course)
        beside = place - (len(present) - 1) / 2
        shift = (min(APART, 0.8 * axes.closest / len(present)) * beside, ABOVE * beside)
        points = sorted((one for one in found if label(one) == course), key=lambda one: one.length)
        parts.append(_line(points, axes, shift, number))
        parts.append(_key(course, number, TOP + LEGEND * place + 8))
    return "\n".join(parts)


def _axes(axes: Axes) -> str:
    right, foot = WIDTH - RIGHT, axes.y(0) + MARGIN
    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = axes.y(share)
        parts.append(f'<line x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{share:.0%}</text>')
    free = 0.0
    for length in axes.lengths:
        x = axes.x(length)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{foot:.1f}" y2="{foot + 5:.1f}" stroke="#222"/>')
        if x >= free:
            parts.append(f'<text x="{x:.1f}" y="{foot + 19:.1f}" text-anchor="middle">{length}</text>')
            free = x + ROOM
    parts.append(f'<path d="M{LEFT} {TOP - MARGIN}V{foot:.1f}H{right}" fill="none" stroke="#222"/>')
    middle = (LEFT + right) / 2
    parts.append(f'<text x="{middle:.1f}" y="{foot + 37:.1f}" text-anchor="middle">length T (logarithmic)</text>')
    y = TOP + PLOT / 2
    parts.append(f'<text transform="translate(14 {y:.1f}) rotate(-90)" text-anchor="middle">runs that solve it</text>')
    return "\n".join(parts)


def _line(points: Sequence[Success], axes: Axes, shift: tuple[float, float], number: int) -> str:
    color = COLORS[number % len(COLORS)]
    places = [(axes.x(one.length) + shift[0], axes.y(one.share) + shift[1]) for one in points]
    way = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    parts = [f'<path d="M{way}" fill="none" stroke="{color}" stroke-width="2"{_dashed(number)}/>']
    for (x, y), one in zip(places, points, strict=True):
        low, high = (axes.y(share) for share in one.interval)
        told = escape(f"{label(one)}, T = {one.length}: {one.solved} of {one.runs}")
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{high:.1f}" y2="{low:.1f}" stroke="{color}" opacity=".5"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}"><title>{told}</title></circle>')
    return "\n".join(parts)


def _key(course: str, number: int, y: float) -> str:
    """A line of the legend; the whole name on hover, where it is too long."""
    x, color = WIDTH - RIGHT + 18, COLORS[number % len(COLORS)]
    shown = course if len(course) <= 40 else f"{course[:39]}…"
    return (
        f'<line x1="{x}" x2="{x + 22}" y1="{y}" y2="{y}" stroke="{color}" stroke-width="2"{_dashed(number)}/>'
        f'<circle cx="{x + 11}" cy="{y}" r="4" fill="{color}"/>'
        f'<text x="{x + 30}" y="{y + 4}">{escape(shown)}<title>{escape(course)}</title></text>'
    )


def _dashed(number: int) -> str:
    dash = DASHES[number // len(COLORS) % len(DASHES)]
    return f' stroke-dasharray="{dash}"' if dash else ""
