"""A forecast as a chart in the terminal: what was measured, then the median between its intervals."""

import math
from collections.abc import Sequence

from longreach.report.sheet import Sheet
from longreach.report.words import safe

ROWS = 12
GUTTER = 10  # columns left of the axis, for numbers
SHADES = "░▒▓"  # of intervals, from the outermost inwards
HALVES = {(True, False): "▀", (False, True): "▄", (True, True): "█"}

Numbers = Sequence[float]


def write(sheet: Sheet, name: str, measured: Numbers, quantiles: Sequence[Numbers], ticks: Sequence[str]) -> None:
    """The chart under its name, as wide as the sheet; numbers, as everywhere, fainter than what is drawn."""
    sheet.line((safe(name), "strong"))
    *rows, axis, below = draw(measured, quantiles, ticks, width=sheet.width).splitlines()
    for row in rows:
        sheet.line((row[:GUTTER], "label"), (row[GUTTER:], "plain"))
    for row in (axis, below):
        sheet.line((row, "label"))


def draw(measured: Numbers, quantiles: Sequence[Numbers], ticks: Sequence[str], *, width: int = 80) -> str:
    """The chart, `width` columns wide.

    measured   up to now; nan where there is nothing
    quantiles  of the steps to come: one row a level, from the lowest to the highest, the median in the middle
    ticks      when the measured values begin, when the forecast begins, when it ends
    """
    columns = max(20, width - GUTTER - 1)
    steps = len(measured) + len(quantiles[0])
    if steps < columns:
        columns = (columns // steps) * steps  # each step as wide as all others
    now = round(columns * len(measured) / steps)
    past = _resampled(measured, now)
    ahead = [_resampled(level, columns - now) for level in quantiles]
    shown = [value for row in (past, *ahead) for value in row if math.isfinite(value)]
    low, high = (min(shown), max(shown)) if shown else (0.0, 1.0)
    high = high if high > low else low + (abs(low) or 1.0)
    places = [[_half(value, low, high) for value in row] for row in (past, *ahead)]
    line = _line([*places[0], *places[1 + len(ahead) // 2]])
    rows = [
        _label(row, low, high) + "".join(_cell(row, column, line, places[1:], now) for column in range(columns))
        for row in reversed(range(ROWS))
    ]
    axis = (
        " " * (GUTTER - 1) + "└" + "".join("┴" if column in (0, now, columns - 1) else "─" for column in range(columns))
    )
    return "\n".join(row.rstrip() for row in (*rows, axis, _ticks(ticks, now, columns))) + "\n"


def _resampled(values: Numbers, columns: int) -> list[float]:
    """The mean of the values that fall into each column; the nearest one where there are fewer values."""
    found = []
    for column in range(columns):
        first = column * len(values) // columns
        own = values[first : max(first + 1, (column + 1) * len(values) // columns)]
        there = [value for value in own if math.isfinite(value)]
        found.append(sum(there) / len(there) if there else math.nan)
    return found


def _half(value: float, low: float, high: float) -> int | None:
    """The half row that a value lies in, from below."""
    return round((value - low) / (high - low) * (2 * ROWS - 1)) if math.isfinite(value) else None


def _line(places: Sequence[int | None]) -> list[range]:
    """The half rows that a line through these places fills in each column."""
    found, before = [], None
    for place in places:
        if place is None:
            found.append(range(0))
        elif before is None or before == place:
            found.append(range(place, place + 1))
        else:
            found.append(range(before + 1, place + 1) if place > before else range(place, before))
        before = place
    return found


def _cell(row: int, column: int, line: list[range], ahead: list[list[int | None]], now: int) -> str:
    lower, upper = 2 * row in line[column], 2 * row + 1 in line[column]
    if lower or upper:
        return HALVES[upper, lower]
    shade = " "
    for depth in range(len(ahead) // 2) if column >= now else ():
        low, high = ahead[depth][column - now], ahead[-1 - depth][column - now]
        if low is not None and high is not None and low // 2 <= row <= high // 2:
            shade = SHADES[min(depth, len(SHADES) - 1)]
    return shade


def _label(row: int, low: float, high: float) -> str:
    if row % 3 and row != ROWS - 1:
        return " " * (GUTTER - 1) + "│"
    value, digits = low + (high - low) * row / (ROWS - 1), 1 - math.floor(math.log10(high - low))
    text = f"{value:.{max(0, digits)}f}"
    return f"{text if len(text) < GUTTER - 2 else f'{value:.3g}':>{GUTTER - 2}} ┤"


def _ticks(ticks: Sequence[str], now: int, columns: int) -> str:
    """Three labels under the axis; the first one gives way to the last, and the middle one to both."""
    line = [" "] * (GUTTER + columns)
    first, middle, last = (tick[: len(line)] for tick in ticks)
    end = len(line) - len(last)
    line[end:] = last
    if GUTTER - 1 + len(first) + 2 <= end:
        line[GUTTER - 1 : GUTTER - 1 + len(first)] = first
    start = min(GUTTER + now - len(middle) // 2, end - len(middle) - 2)
    if start > GUTTER + len(first):
        line[start : start + len(middle)] = middle
    return "".join(line)
