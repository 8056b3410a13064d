"""The picture of depth: a bar for each layer, the highest on the left, as tall as what is left of a gradient there.

The height is logarithmic, over as many powers of ten as the curve spans, so that an even fade is a straight slope.
"""

import math

from longreach.diagnosis.vanishing_in_depth import LEFT
from longreach.quantities.depth import Depth
from longreach.report.chart import BLOCKS, GUTTER, Row
from longreach.report.words import safe

ROWS = 4
FARTHEST = 300  # powers of ten: what lies beyond is drawn at the edge


def draw(depth: Depth, width: int) -> list[Row]:
    """The chart of one network or tree, `width` columns wide; empty if there is nothing to draw."""
    count = len(depth.layers)
    columns = width - GUTTER - 1
    if count < 2 or columns < 1:
        return []
    low, high = _scale(depth)
    each = max(1, columns // count)
    # of more layers than columns, every so many-th
    shown = [place * count // min(count, columns) for place in range(min(count, columns))]
    tenths = [_bounded(depth.log_gain[place] / math.log(10)) for place in shown]
    styles = ["reach" if depth.log_gain[place] > LEFT else "beyond" for place in shown]
    rows: list[Row] = [[(f"{'depth':>{GUTTER - 1}}", "reach")]]
    for row in reversed(range(ROWS)):
        top = low + (high - low) * (row + 1) / ROWS
        bars = [_block((value - low) / (high - low), row) * each for value in tenths]
        rows.append([(f"{_power(top):>{GUTTER - 1}} ", "label"), *zip(bars, styles, strict=True)])
    rows.append([(" " * (GUTTER - 1) + "└" + "─" * (each * len(shown)), "label")])
    return [*rows, _ends(depth, each * len(shown))]


def _scale(depth: Depth) -> tuple[int, int]:
    """The powers of ten at the foot and the head: both whole, and so is the height of a row."""
    tenths = [_bounded(value / math.log(10)) for value in depth.log_gain if math.isfinite(value)] or [0.0]
    high = max(0, math.ceil(max(tenths) - 1e-9))
    span = max(ROWS, high - math.floor(min(tenths)))
    return high - ROWS * math.ceil(span / ROWS), high


def _bounded(power: float) -> float:
    return -FARTHEST if math.isnan(power) else min(FARTHEST, max(-FARTHEST, power))


def _block(level: float, row: int) -> str:
    eighths = 8 * ROWS * level - 8 * row
    return BLOCKS[min(8, max(0, math.ceil(eighths - 0.5)))]


def _power(exponent: float) -> str:
    return f"{10**exponent:.4g}" if -4 < exponent < 4 else f"1e{exponent:+.0f}"


def _ends(depth: Depth, columns: int) -> Row:
    """Under the axis: the name of the highest layer and of the lowest, as far as both fit."""
    first, last = (safe(depth.layers[place]) for place in (0, -1))
    if depth.axis == "hops":
        first, last = "root", f"{last} hops"
    room = max(1, (columns - 2) // 2)
    first, last = first[:room], last[-room:]
    gap = max(1, columns - len(first) - len(last))
    label = "hops" if depth.axis == "hops" else "layer"
    return [(f"{label:>{GUTTER - 1}} ", "label"), (first + " " * gap + last, "label")]
