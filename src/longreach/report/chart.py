"""The picture: reach and need over one axis, the lag, drawn with blocks.

The axis is linear, so that distances are distances: a reach of 11 steps out of 149 looks like a fourteenth of the way.
The height of the gain is logarithmic, from threshold / 100 to 1, so that an exponential fade is a straight slope and
its end is where the slope crosses the line of the threshold. The height of need is linear, relative to its largest.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass

from longreach.diagnosis.stacks import asked
from longreach.record import Layer, Need, Reach

BLOCKS = " ▁▂▃▄▅▆▇█"
ROWS = 4  # of the gain: at the usual threshold of 0.01 one for each power of ten
NEED_ROWS = 2
GUTTER = 7  # columns left of the axis, for labels

Span = tuple[str, str]  # text, and what it shows: "reach", "beyond", "need", "line", "label", "broken"
Row = list[Span]


@dataclass(frozen=True)
class Axis:
    """`columns` characters for the lags 0 to `horizon`."""

    columns: int
    horizon: int

    def lag(self, column: int) -> float:
        """The lag at the middle of a column."""
        return column * self.horizon / max(1, self.columns - 1)

    def column(self, lag: float) -> int:
        """The column of a lag."""
        return min(self.columns - 1, max(0, round(lag * (self.columns - 1) / max(1, self.horizon))))


def draw(layer: Layer, width: int) -> list[Row]:
    """The chart of one layer, `width` columns wide; empty if there is nothing to draw."""
    reach, need = layer.reach, asked(layer)
    horizon = reach.horizon if reach else max(need.lags, default=0) if need else 0
    if need and need.lag is not None:
        horizon = max(horizon, need.lag)  # where gradients are cut, a need may lie beyond
    if horizon < 1:
        return []
    axis = Axis(max(1, width - GUTTER - 2), horizon)
    gain = _gain_rows(reach, axis) if reach else []
    head: list[Row] = [[(f"{'reach':>{GUTTER - 1}}", "reach")]] if reach else []
    return [*head, *gain, *_need_rows(need, reach, axis), _rule(axis), _numbers(axis), *_marks(reach, need, axis)]


def _gain_rows(reach: Reach, axis: Axis) -> list[Row]:
    low, high = scale(reach)
    lags = [axis.lag(column) for column in range(axis.columns)]
    values = [between(reach.lags, reach.log_gain, lag) if lag <= reach.horizon else -math.inf for lag in lags]
    levels = [math.nan if math.isnan(v) else (v / math.log(10) - low) / (high - low) for v in values]
    end = axis.column(reach.lag)
    rows = []
    for row in reversed(range(ROWS)):
        top = low + (high - low) * (row + 1) / ROWS
        at_line = math.isclose(top, math.log10(_threshold(reach)), abs_tol=1e-6)
        cells = [_cell(level, row, ROWS) for level in levels]
        kinds = ["broken" if c == "?" else "reach" if i <= end else "beyond" for i, c in enumerate(cells)]
        if at_line:
            kinds = ["line" if c == " " else k for c, k in zip(cells, kinds, strict=True)]
            cells = ["▔" if c == " " else c for c in cells]
        rows.append([(f"{_power(top):>{GUTTER - 1}} ", "label"), *_joined(cells, kinds)])
    return rows


def _need_rows(need: Need | None, reach: Reach | None, axis: Axis) -> list[Row]:
    label = (f"{'need':>{GUTTER - 1}} ", "need")
    if need is None:
        return [[label, ("not tested", "label")]]
    shares = [_strongest(need, axis, column) for column in range(axis.columns)]
    tallest = max([share for share in shares if math.isfinite(share)], default=0.0)
    if need.lag is None or tallest <= 0:
        return [[label, ("none found", "label")]]
    levels = [share / tallest if math.isfinite(share) else 0.0 for share in shares]
    top = f"{100 * tallest:.2g}" if tallest < 0.995 else "100"
    labels = [(f"{top + '%':>{GUTTER - 1}} ", "label"), label]
    kinds = ["need"] * axis.columns
    rows = [[_cell(level, row, NEED_ROWS) for level in levels] for row in reversed(range(NEED_ROWS))]
    return [[name, *_joined(cells, kinds)] for name, cells in zip(labels, rows, strict=True)]


def _rule(axis: Axis) -> Row:
    """The axis itself, with a tick at every label."""
    line = ["─"] * axis.columns
    for lag in ticks(axis):
        line[axis.column(lag)] = "┴"
    return [(" " * (GUTTER - 1) + "└", "label"), ("".join(line), "label")]


def _numbers(axis: Axis) -> Row:
    """The lags under the axis."""
    numbers = [" "] * (axis.columns + 2)
    for lag in ticks(axis):
        text = str(lag)
        start = min(max(0, axis.column(lag) - len(text) // 2), axis.columns + 2 - len(text))
        numbers[start : start + len(text)] = text
    return [(f"{'lag':>{GUTTER - 1}} ", "label"), ("".join(numbers), "label")]


def _marks(reach: Reach | None, need: Need | None, axis: Axis) -> list[Row]:
    """Arrows at where reach ends and where need lies, on one line if they fit beside each other."""
    places = [("reach", reach.lag)] if reach else []
    places += [("need", need.lag)] if need and need.lag is not None else []
    rows: list[Row] = []
    used = 0
    for kind, lag in sorted(places, key=lambda place: place[1]):
        start, text = _arrow(f"{kind} {lag}", axis.column(lag), axis.columns)
        if not rows or start < used:
            rows.append([(" " * GUTTER, "label")])
            used = 0
        rows[-1] += [(" " * (start - used), "label"), (text, kind)]
        used = start + len(text) + 2
        rows[-1].append(("  ", "label"))
    return rows


def _arrow(text: str, column: int, columns: int) -> tuple[int, str]:
    """Where an arrow's text starts, and the text: to the right of the arrow, or to its left at the right edge."""
    if column + len(text) + 2 <= columns or len(text) + 1 > column:
        return column, f"▲ {text}"
    return column - len(text) - 1, f"{text} ▲"


def ticks(axis: Axis) -> list[int]:
    """Round lags, far enough apart for their numbers, and the horizon."""
    room = len(str(axis.horizon)) + 4
    most = max(1, axis.columns // room)
    raw = max(1.0, axis.horizon / most)
    magnitude = 10 ** math.floor(math.log10(raw))
    steps = (m * magnitude for m in (1, 2, 5, 10))
    step = next((step for step in steps if step >= raw), 10 * magnitude)
    round_lags = [lag for lag in range(0, axis.horizon, step) if axis.column(axis.horizon) - axis.column(lag) >= room]
    return [*(round_lags or [0]), axis.horizon]


def scale(reach: Reach) -> tuple[float, float]:
    """Powers of ten at the foot and the head of the gain's rows: up from 1 if the gain explodes."""
    finite = [value for value in reach.log_gain if math.isfinite(value)]
    highest = max(finite, default=0.0) / math.log(10)
    if math.inf in reach.log_gain:
        highest = max(highest, 300.0)
    if highest > 1:
        return 0.0, ROWS * math.ceil(min(highest, 9999.0) / ROWS)
    return math.log10(_threshold(reach)) - 2, 0.0


def _threshold(reach: Reach) -> float:
    return reach.threshold if 0 < reach.threshold < 1 else 0.01


def between(lags: tuple[int, ...], values: tuple[float, ...], lag: float) -> float:
    """The value at a lag, linear between two measured ones; what is not finite is not smoothed over."""
    count = min(len(lags), len(values))
    if not count:
        return math.nan
    right = min(bisect_left(lags, lag, 0, count), count - 1)
    left = max(0, right - 1) if lags[right] > lag else right
    a, b = values[left], values[right]
    if left == right or not (math.isfinite(a) and math.isfinite(b)) or lags[right] == lags[left]:
        return b if lag > lags[left] else a
    return a + (b - a) * (lag - lags[left]) / (lags[right] - lags[left])


def _strongest(need: Need, axis: Axis, column: int) -> float:
    """The strongest need within a column; between two measured lags, interpolated."""
    half = 0.5 * axis.horizon / max(1, axis.columns - 1)
    middle = axis.lag(column)
    pairs = zip(need.lags, need.strength, strict=False)
    inside = [share for lag, share in pairs if middle - half <= lag < middle + half]
    return max(inside) if inside else between(need.lags, need.strength, middle)


def _cell(level: float, row: int, rows: int) -> str:
    """The block that a bar of height `level` (0 to 1 over all rows) leaves in a row; 0 is the lowest."""
    if math.isnan(level):
        return "?" if row == 0 else " "
    eighths = 8 * rows * min(1.0, max(0.0, level)) - 8 * row
    return BLOCKS[min(8, max(0, math.ceil(eighths - 0.5)))]


def _joined(cells: list[str], kinds: list[str]) -> Row:
    """Neighbouring cells of one kind as one span."""
    row: Row = []
    for cell, kind in zip(cells, kinds, strict=True):
        if row and row[-1][1] == kind:
            row[-1] = (row[-1][0] + cell, kind)
        else:
            row.append((cell, kind))
    return row


def _power(exponent: float) -> str:
    """A power of ten as a label: 1, 0.1, 1e+40."""
    return f"{10**exponent:.3g}" if -5 < exponent < 4 else f"1e{exponent:+.0f}"
