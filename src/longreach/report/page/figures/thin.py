"""Fewer points than were measured, and none that matters lost."""

import math
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

COLUMNS = 900  # of pixels: two points each


def envelope(xs: Sequence[int], values: Sequence[float], columns: int = COLUMNS) -> list[int]:
    """Which points to draw: of those that fall into one column of pixels the smallest and the largest.

    Besides the first and the last, and in each column one of each kind that is not finite. Every spike survives, and a
    line through what is left covers the same pixels. At most 5 points a column, 2 where all are finite; ascending.

    Cost  one pass
    """
    if len(xs) <= 2 * columns:
        return list(range(len(xs)))
    first, width = xs[0], max(1, xs[-1] - xs[0]) / columns
    kept = {0, len(xs) - 1}
    extremes: dict[tuple[int, str], int] = {}
    for at, (x, value) in enumerate(zip(xs, values, strict=True)):
        column = min(columns - 1, max(0, int((x - first) / width)))
        if not math.isfinite(value):
            extremes.setdefault((column, str(value)), at)
            continue
        low, high = extremes.setdefault((column, "low"), at), extremes.setdefault((column, "high"), at)
        if value < values[low]:
            extremes[column, "low"] = at
        if value > values[high]:
            extremes[column, "high"] = at
    return sorted(kept.union(extremes.values()))


def evenly(items: Sequence[T], most: int) -> list[T]:
    """At most so many of them, evenly spaced, with the first and the last."""
    if len(items) <= most:
        return list(items)
    if most < 2:
        return list(items[-1:]) if most else []
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]
