"""The parts that a picture in SVG is made of. All text is escaped here; no part is known by an id: pages have many."""

import html
import math
from collections.abc import Iterable, Sequence

from longreach.report.words import safe

WIDTH, LEFT, RIGHT = 600, 58, 588  # the drawing, and where its axis begins and ends
Point = tuple[float, float]


def picture(height: float, title: str, said: str, parts: Sequence[str]) -> str:
    """The whole, for a page of whatever colour; `said` is for those who cannot see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" role="img" '
        'style="max-width:100%;height:auto;display:block" font-family="sans-serif" font-size="13" fill="currentColor">'
        f"<title>{_said(title)}</title><desc>{_said(said)}</desc>{''.join(parts)}</svg>"
    )


def clipped(panel: tuple[float, float], parts: Sequence[str], *, left: float = LEFT) -> str:
    """Parts of which nothing is seen outside of a panel."""
    box = f"{left} {panel[0]} {RIGHT - left} {panel[1] - panel[0]}"
    x, y, width, height = box.split()
    size = f'x="{x}" y="{y}" width="{width}" height="{height}"'
    return f'<svg {size} viewBox="{box}" overflow="hidden">{"".join(parts)}</svg>'


def line(
    x: float,
    y: float,
    to_x: float,
    to_y: float,
    color: str = "",
    width: float = 1,
    dash: str = "",
    *,
    faint: bool = False,
) -> str:
    """From one place to another; without a colour in that of the text, fainter."""
    style = f'stroke="{color or "currentColor"}" stroke-width="{width}"'
    style += f' stroke-dasharray="{dash}"' if dash else ""
    style += ' stroke-opacity="0.25"' if faint else "" if color else ' stroke-opacity="0.6"'
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" {style}/>'


def polyline(points: Sequence[Point], color: str, width: float) -> str:
    """A curve through these points; of one point a dot."""
    if len(points) == 1:
        return f'<circle cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="{width:.1f}" fill="{color}"/>'
    shown = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{shown}" fill="none" stroke="{color}" stroke-width="{width}"/>'


def unbroken(points: Iterable[Point]) -> list[list[Point]]:
    """Stretches of a curve between what is no number."""
    runs: list[list[Point]] = [[]]
    for x, y in points:
        if math.isfinite(y):
            runs[-1].append((x, y))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def area(points: Sequence[Point], bottom: float, color: str) -> str:
    """What lies between a curve and its lower edge."""
    ends = f"{points[0][0]:.1f},{bottom} ", f" {points[-1][0]:.1f},{bottom}"
    shown = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    fill = f'fill="{color}" fill-opacity="0.45" stroke="{color}"'
    return f'<polygon points="{ends[0]}{shown}{ends[1]}" {fill}/>'


def text(x: float, y: float, text: str, anchor: str = "start", *, color: str = "", bold: bool = False) -> str:
    """Words, in the colour of the text around the picture."""
    style = f' fill="{color}"' if color else ""
    style += ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{_said(text)}</text>'


def _said(text: str) -> str:
    return html.escape(safe(text, 2000))
